"""The interface of engines, the batcher and the stage executor. They know neither database nor torch."""
