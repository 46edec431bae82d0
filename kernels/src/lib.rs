//! CPU kernels over plain slices: selection, losses, optimizer.
