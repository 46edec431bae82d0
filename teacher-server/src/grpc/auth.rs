//! Who may call: whoever shows the token.

use super::error::{Error, Result};
use std::path::Path;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// A secret that callers show as `authorization: Bearer <token>`. Never printed.
#[derive(Clone)]
pub struct Token(Arc<str>);

impl Token {
    /// A token from a file, without the white space around it.
    ///
    /// # Errors
    /// A file that cannot be read, is empty, or holds more than one line of visible ASCII.
    pub fn read(path: &Path) -> Result<Self> {
        let wrong = |reason: String| Error::File {
            path: path.to_owned(),
            reason,
        };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        Self::new(text.trim()).ok_or_else(|| wrong("a token is one line of visible ASCII, and not empty".to_owned()))
    }

    /// A token; `None` if a header could not carry it.
    pub fn new(text: &str) -> Option<Self> {
        let visible = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        visible.then(|| Self(text.into()))
    }

    /// The value of the `authorization` header.
    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether a header's value shows this token. Takes as long for a near miss as for any other of its length.
    fn is_shown_by(&self, header: &[u8]) -> bool {
        let Some((scheme, shown)) = header.split_at_checked("Bearer ".len()) else {
            return false;
        };
        scheme.eq_ignore_ascii_case(b"Bearer ") && shown.ct_eq(self.0.as_bytes()).into()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Lets a call in that shows the token; every call where there is none.
#[derive(Clone, Debug)]
pub(super) struct Auth(pub(super) Option<Token>);

impl Interceptor for Auth {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(token) = &self.0 else { return Ok(request) };
        match request.metadata().get("authorization") {
            Some(shown) if token.is_shown_by(shown.as_bytes()) => Ok(request),
            Some(_) => Err(Status::unauthenticated(
                "the token is not this server's; check --token-file",
            )),
            None => Err(Status::unauthenticated("this server wants a token; give --token-file")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_let_in() {
        let token = Token::new("s3cret").unwrap();
        assert!(token.is_shown_by(b"Bearer s3cret") && token.is_shown_by(b"bearer s3cret"));
        for header in [
            "",
            "s3cret",
            "Bearer ",
            "Bearer s3cre",
            "Bearer s3crets",
            "Bearer S3cret",
            "Basic  s3cret",
        ] {
            assert!(!token.is_shown_by(header.as_bytes()), "{header}");
        }
    }

    #[test]
    fn a_token_is_one_visible_line_and_is_not_printed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cret\n").unwrap();
        let token = Token::read(file.path()).unwrap();
        assert_eq!(token.header(), "Bearer s3cret");
        assert!(!format!("{token:?}").contains("s3cret"));
        for text in ["", " \n", "two\nlines", "\u{fc}"] {
            std::fs::write(file.path(), text).unwrap();
            assert!(Token::read(file.path()).is_err(), "{text:?}");
        }
    }
}
