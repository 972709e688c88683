"""Pictures for people: boxes, ids and emotions drawn over frames, and videos of them."""
