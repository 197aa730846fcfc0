// Put in by the next commit.
