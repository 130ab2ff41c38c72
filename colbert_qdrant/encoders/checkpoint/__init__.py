"""What a checkpoint is: which layout, what it says about texts and tokens, and its weights."""
