//! What the command lines share: configuration layers, progress, exit codes.
