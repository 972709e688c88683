"""One file for each form in which labelled pictures come; `training.data.load.load_faces` picks one."""
