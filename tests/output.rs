//! What a run leaves behind: written, read back, damaged, locked, continued.
