//! Results go to standard output, everything else to standard error, and a reader that has gone stops no work.
//!
//! `println!` and `eprintln!` panic when they cannot write: behind `| head`, or once the reader of a log is gone, that
//! would end a capture of days.

use std::fmt::Display;
use std::io::{self, Write};

/// Writes a result to standard output, and a line's end where it has none. Nobody reading on is no error.
///
/// # Errors
/// It cannot be written: no space where standard output goes.
pub fn print(text: impl Display) -> io::Result<()> {
    write(&mut io::stdout().lock(), &text.to_string())
}

/// Tells a person something, in one line on standard error, if there is anybody.
pub fn tell(line: impl Display) {
    // there is nobody left to tell of an error here
    let _ = write(&mut io::stderr().lock(), &line.to_string());
}

fn write(out: &mut impl Write, text: &str) -> io::Result<()> {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let written = out
        .write_all(format!("{text}{end}").as_bytes())
        .and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error_but_a_full_disk_is() {
        assert!(write(&mut Broken(io::ErrorKind::BrokenPipe), "a").is_ok());
        assert!(write(&mut Broken(io::ErrorKind::StorageFull), "a").is_err());
    }

    #[test]
    fn a_text_ends_with_one_line_end() {
        let mut out = Vec::new();
        write(&mut out, "a").unwrap();
        write(&mut out, "b\n").unwrap();
        assert_eq!(out, b"a\nb\n");
    }
}
