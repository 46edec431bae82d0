//! The decant.v1 gRPC interface: messages, client and server.
