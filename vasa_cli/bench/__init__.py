"""How fast this machine renders, stage by stage, and how far that is from what it could do."""
