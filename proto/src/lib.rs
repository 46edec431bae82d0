//! The `decant.v1` gRPC interface: messages, client and server.
//!
//! The code is generated at build from the files under `proto/decant/v1`, by protox and tonic, in well under a second
//! and without protoc. So there is no second copy to keep in step: what compiles is what the `.proto` files say.
//! Their comments are the documentation of every item in [`v1`].

/// Package `decant.v1`.
#[allow(missing_docs, unreachable_pub, clippy::all)] // generated: its helpers carry no comments of ours
pub mod v1 {
    tonic::include_proto!("decant.v1");
}

/// The encoded `FileDescriptorSet` of the package and what it imports, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/decant.v1.bin"));

/// Largest message in either direction, in bytes: below every gRPC library's default limit (4 MiB).
pub const MAX_MESSAGE_BYTES: usize = 2 * 1024 * 1024;

/// Full name of the service, as health checks ask for it.
pub const SERVICE_NAME: &str = v1::teacher_service_server::SERVICE_NAME;
