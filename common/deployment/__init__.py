"""What a coordinator's and a site's machine have in common: settings, programs, supervision."""
