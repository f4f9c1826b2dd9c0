"""What a GPU makes of it: G1 to G7, in one command, with random weights of the true architecture, which are as fast.

Needs torch, diffusers, transformers and what `workers.pipelines` imports; no database, no Redis and no weights.
"""
