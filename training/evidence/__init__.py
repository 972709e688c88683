"""What of a face can be seen: the small net behind the quality flag `occluded`, and the curves behind `unknown`."""
