"""Ensembles: learners made of other learners, side by side in the same rounds."""
