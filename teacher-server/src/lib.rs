//! Runs a teacher over datasets and streams its soft targets to Parquet, over gRPC or in one process.
