"""Fine-tuning at a site: augmentation, sampling, loss and local training."""
