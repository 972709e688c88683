"""The trunks a net can have, one file for each family; `training.nets.build.build_model` puts heads on them."""
