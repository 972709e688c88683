"""The trunks a net can have, one file for each family; `training.model.build_model` puts heads on them."""
