"""`make chaos`: everything as real processes, with clients, while they are killed, frozen, emptied and cut off."""
