"""The Helm chart (`emostream/`), and what keeps its made files in step with what they are made from."""
