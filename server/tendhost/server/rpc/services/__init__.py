"""The services of the contract: each call decoded, asked of the engine, and answered."""
