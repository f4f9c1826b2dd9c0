"""PNG encoding, and source images with their limits. They know no HTTP, no database and no storage."""
