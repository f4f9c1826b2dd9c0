"""The published endpoints: parse, call the domain once, reply. They know no SQL, and not how clients wait."""
