//! Where a server listens, and who can hear it there.

use super::auth::Token;
use super::error::{Error, Result};
use crate::args::ServeArgs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpListener;

/// Time from the first signal until what is still open is dropped: within what supervisors grant by default (30 s in
/// Kubernetes and Slurm, 90 s in systemd).
const GRACE: Duration = Duration::from_secs(20);

/// How a server is protected, and how it ends.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Encrypts connections.
    pub tls: Option<Tls>,
    /// What callers must show.
    pub token: Option<Token>,
    /// Time for work in flight after the shutdown began.
    pub grace: Duration,
}

/// A server's certificate chain and private key, in PEM.
#[derive(Clone)]
pub struct Tls {
    pub(super) certificate: Vec<u8>,
    pub(super) key: Vec<u8>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tls: None,
            token: None,
            grace: GRACE,
        }
    }
}

impl Settings {
    /// The settings of `serve`, its files read.
    ///
    /// # Errors
    /// A file that cannot be used; an address that other machines reach without TLS and a token, unless `--insecure`.
    pub fn from_args(args: &ServeArgs) -> Result<Self> {
        let tls = match (&args.tls_cert, &args.tls_key) {
            (Some(certificate), Some(key)) => Some(Tls::read(certificate, key)?),
            _ => None,
        };
        let token = args.token_file.as_deref().map(Token::read).transpose()?;
        let safe = args.listen.ip().is_loopback() || tls.is_some() && token.is_some();
        match safe || args.insecure {
            true => Ok(Self {
                tls,
                token,
                ..Self::default()
            }),
            false => Err(Error::Exposed(args.listen)),
        }
    }
}

impl Tls {
    /// Certificate chain and private key, each from its file.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| Error::File {
                path: path.to_owned(),
                reason: error.to_string(),
            })
        };
        Ok(Self {
            certificate: read(certificate)?,
            key: read(key)?,
        })
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(..)")
    }
}

/// Takes an address; port 0 takes a free one.
///
/// # Errors
/// A port that is in use, an address that is not this machine's.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => Error::PortInUse(address),
        _ => Error::Listen { address, source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Serve {
        #[command(flatten)]
        args: ServeArgs,
    }

    fn settings(flags: &[&str]) -> Result<Settings> {
        let flags = ["serve", "--model", "m"].iter().chain(flags);
        Settings::from_args(&Serve::parse_from(flags).args)
    }

    #[test]
    fn other_machines_need_tls_and_a_token() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "text").unwrap();
        let file = file.to_str().unwrap();
        let tls = ["--tls-cert", file, "--tls-key", file];
        let token = ["--token-file", file];

        assert!(settings(&[]).is_ok() && settings(&["--listen", "[::1]:0"]).is_ok());
        let open = ["--listen", "0.0.0.0:0"];
        for flags in [&open[..], &[&open[..], &tls].concat(), &[&open[..], &token].concat()] {
            assert!(matches!(settings(flags), Err(Error::Exposed(_))), "{flags:?}");
        }
        assert!(settings(&[&open[..], &tls, &token].concat()).is_ok());
        assert!(settings(&[&open[..], &["--insecure"]].concat()).is_ok());
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let first = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = first.local_addr().unwrap();
        let message = bind(address).await.unwrap_err().to_string();
        assert!(
            message.starts_with(&format!("{address}: the port is in use")),
            "{message}"
        );
    }
}
