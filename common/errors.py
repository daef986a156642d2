"""One class per kind of failure; each message names what failed and what to do about it."""


class DermafedError(Exception):
    """Base of every error that a user of dermafed can act on."""


class InterruptionError(DermafedError):
    """Ctrl-C or SIGTERM has ended a command; the message says what is true now."""


class CohortError(DermafedError):
    """The cohort's table, manifest or folders are not what they must be."""


class ImageError(DermafedError):
    """An image file is missing, truncated or not an image."""


class PartitionError(DermafedError):
    """A partition cannot be made from this cohort."""


class WeightsError(DermafedError):
    """A backbone's weights are missing or not the published ones."""


class CacheError(DermafedError):
    """The feature cache cannot be read or written."""


class SettingsError(DermafedError):
    """A run setting is unknown or out of bounds."""


class ContributionError(DermafedError):
    """A site's contribution is not what the round asked for."""


class RoundError(DermafedError):
    """A round ended without the replies that it needs."""


class RunFolderError(DermafedError):
    """A run folder exists already, or is not a run folder."""


class OutputError(DermafedError):
    """A file cannot be written, or would replace another."""


class SourceError(DermafedError):
    """A cohort cannot be fetched or written."""


class StudyError(DermafedError):
    """A study cannot be made of this cohort, or its folder is another study's."""


class LeakageError(DermafedError):
    """The split lets a lesion be in training and in testing."""


class StateError(DermafedError):
    """What a site or a coordinator kept between rounds is not there."""


class TrainingError(DermafedError):
    """Local training went wrong."""


class TrustError(DermafedError):
    """A key, a certificate or a bundle is not the one that may be used."""


class DeploymentError(DermafedError):
    """A coordinator's or a site's programs cannot be started, reached or stopped."""


class BundleError(DermafedError):
    """A coordinator sends another app bundle than the one that the site has pinned."""


class BoundsError(DermafedError):
    """A run asks for what the site does not allow."""


class AuditError(DermafedError):
    """The audit trail is broken or cannot be written."""
