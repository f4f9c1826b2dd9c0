"""`make chaos`: everything as real processes, under load, while they are killed, frozen, emptied and cut off."""
