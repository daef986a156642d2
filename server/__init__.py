"""What runs at the coordinator: rounds, sums, quorum, updates, the model artefact."""
