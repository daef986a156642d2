"""Run folders as one self-contained page of HTML, and as a model card."""
