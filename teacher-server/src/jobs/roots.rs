//! The places that jobs may read and write: every path that a job names must lie under one of them.
//!
//! Paths are compared after links are resolved, so that neither `..` nor a link inside a root leads out of it. A
//! relative path is relative to the first root.

use super::error::{Error, Result};
use std::path::{Component, Path, PathBuf};

/// Folder of a root that belongs to the server.
pub(super) const OWN_FOLDER: &str = ".decant";

/// The places that jobs may read and write.
#[derive(Debug, Clone, Default)]
pub struct Roots(Vec<Root>);

#[derive(Debug, Clone)]
enum Root {
    /// A folder of this machine: absolute, without links.
    Folder(PathBuf),
    /// An object-store URL without a slash at its end.
    Url(String),
}

impl Roots {
    /// Takes each of `roots`, a folder that exists or an object-store URL.
    ///
    /// # Errors
    /// A folder that is not there, a URL with `.` or `..` in it.
    pub fn new<S: AsRef<str>>(roots: &[S]) -> Result<Self> {
        roots
            .iter()
            .map(|root| Root::new(root.as_ref()))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first root, where relative paths start and job records lie.
    pub(super) fn first(&self) -> Option<String> {
        self.0.first().map(Root::to_string)
    }

    /// An input as an absolute path without links.
    ///
    /// # Errors
    /// It is not there or lies outside; a file that reading it would open is a link that leads outside.
    pub fn input(&self, path: &Path) -> Result<PathBuf> {
        let given = path.display().to_string();
        let resolved = self
            .absolute(path)?
            .canonicalize()
            .map_err(|error| unusable(&given, error))?;
        self.check_folder(&resolved, &given)?;
        // a file of a folder, or the labels beside an IDX file, may itself be a link
        for file in decant_data::input::files_of(&resolved)? {
            let file_name = file.display().to_string();
            let target = file.canonicalize().map_err(|error| unusable(&file_name, error))?;
            self.check_folder(&target, &file_name)?;
        }
        Ok(resolved)
    }

    /// An output, a folder or a URL, which need not be there yet: strictly under a root.
    ///
    /// # Errors
    /// It lies outside, is a root, or lies in the folder that the server keeps its records in.
    pub fn output(&self, location: &str) -> Result<String> {
        let resolved = match Root::parse(location)? {
            Root::Url(url) => Root::Url(url),
            Root::Folder(path) => {
                Root::Folder(resolve(&self.absolute(&path)?).map_err(|error| unusable(location, error))?)
            }
        };
        let under = self
            .0
            .iter()
            .find_map(|root| resolved.under(root))
            .ok_or_else(|| self.outside(location))?;
        if under.is_empty() || under.split('/').next() == Some(OWN_FOLDER) {
            let reason = format!("a dataset goes into a folder of its own under a root, and not under {OWN_FOLDER}");
            return Err(Error::Path {
                path: location.to_owned(),
                reason,
            });
        }
        Ok(resolved.to_string())
    }

    fn absolute(&self, path: &Path) -> Result<PathBuf> {
        if path.as_os_str().is_empty() {
            return Err(Error::Path {
                path: "\"\"".to_owned(),
                reason: "the path is empty".to_owned(),
            });
        }
        match self.0.first() {
            None => Err(Error::NoRoot),
            Some(Root::Folder(first)) => Ok(first.join(path)),
            Some(Root::Url(_)) if path.is_absolute() => Ok(path.to_owned()),
            Some(Root::Url(url)) => Err(Error::Path {
                path: path.display().to_string(),
                reason: format!("a relative path needs a folder as the first root, which is {url}; give it whole"),
            }),
        }
    }

    fn check_folder(&self, resolved: &Path, given: &str) -> Result<()> {
        let inside = self
            .0
            .iter()
            .any(|root| matches!(root, Root::Folder(folder) if resolved.starts_with(folder)));
        if inside { Ok(()) } else { Err(self.outside(given)) }
    }

    fn outside(&self, path: &str) -> Error {
        if self.0.is_empty() {
            return Error::NoRoot;
        }
        let roots: Vec<String> = self.0.iter().map(Root::to_string).collect();
        Error::Outside {
            path: path.to_owned(),
            roots: roots.join(", "),
        }
    }
}

impl Root {
    fn new(location: &str) -> Result<Self> {
        match Self::parse(location)? {
            Self::Url(url) => Ok(Self::Url(url)),
            Self::Folder(path) => {
                let resolved = path.canonicalize().map_err(|error| unusable(location, error))?;
                if !resolved.is_dir() {
                    let reason = "a root is a folder, and this is a file".to_owned();
                    return Err(Error::Path {
                        path: location.to_owned(),
                        reason,
                    });
                }
                Ok(Self::Folder(resolved))
            }
        }
    }

    fn parse(location: &str) -> Result<Self> {
        match location.split_once("://") {
            None => Ok(Self::Folder(PathBuf::from(location))),
            Some(("file", path)) => Ok(Self::Folder(PathBuf::from(path))),
            Some((scheme, rest)) => {
                let rest = rest.trim_end_matches('/');
                // an object store knows no links, so what is compared is the text; nothing may hide in it
                let plain = |part: &str| {
                    !part.is_empty() && part != "." && part != ".." && !part.contains(['%', '\\', '?', '#'])
                };
                if scheme.is_empty() || !rest.split('/').all(plain) {
                    let reason = "a URL of a store has a scheme and a path, without empty, `.`, `..` or escaped parts";
                    return Err(Error::Path {
                        path: location.to_owned(),
                        reason: reason.to_owned(),
                    });
                }
                Ok(Self::Url(format!("{scheme}://{rest}")))
            }
        }
    }

    /// What of this path comes after `root`; `None`: it does not lie under it.
    fn under(&self, root: &Self) -> Option<String> {
        match (self, root) {
            (Self::Folder(path), Self::Folder(root)) => path
                .strip_prefix(root)
                .ok()
                .map(|rest| rest.to_string_lossy().into_owned()),
            (Self::Url(url), Self::Url(root)) => match url.strip_prefix(root.as_str())? {
                "" => Some(String::new()),
                rest => rest.strip_prefix('/').map(str::to_owned),
            },
            _ => None,
        }
    }
}

impl std::fmt::Display for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Url(url) => f.write_str(url),
        }
    }
}

fn unusable(path: &str, error: std::io::Error) -> Error {
    let reason = match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file or folder on the server".to_owned(),
        _ => error.to_string(),
    };
    Error::Path {
        path: path.to_owned(),
        reason,
    }
}

/// An absolute path without links whose end need not be there.
fn resolve(path: &Path) -> std::io::Result<PathBuf> {
    let mut there = path;
    let mut missing = Vec::new();
    // a link that leads nowhere is there: resolving it fails, and so it cannot be filled in later
    while let Err(error) = there.symlink_metadata() {
        let (Some(parent), Some(Component::Normal(name))) = (there.parent(), there.components().next_back()) else {
            return Err(error);
        };
        missing.push(name);
        there = parent;
    }
    Ok(missing
        .iter()
        .rev()
        .fold(there.canonicalize()?, |path, name| path.join(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn refused<T: std::fmt::Debug>(result: Result<T>) -> bool {
        matches!(result, Err(Error::Outside { .. }))
    }

    #[test]
    fn what_lies_under_a_root_is_resolved() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::write(root.join("a.txt"), "a").unwrap();
        let roots = Roots::new(&[root.to_str().unwrap()]).unwrap();
        assert_eq!(roots.input(Path::new("a.txt")).unwrap(), root.join("a.txt"));
        assert_eq!(roots.input(&root.join("./a.txt")).unwrap(), root.join("a.txt"));
        assert_eq!(
            roots.output("new/deep").unwrap(),
            root.join("new/deep").to_str().unwrap()
        );
        assert_eq!(
            roots.output(&format!("file://{}/out", root.display())).unwrap(),
            root.join("out").to_str().unwrap()
        );
    }

    #[test]
    fn dots_and_links_do_not_lead_out() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        let outside = folder.path().join("outside");
        std::fs::create_dir(&root).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("secret.txt"), "s").unwrap();
        symlink(&outside, root.join("link")).unwrap();
        symlink(outside.join("secret.txt"), root.join("file.txt")).unwrap();
        symlink(outside.join("nothing"), root.join("dangling")).unwrap();
        let roots = Roots::new(&[root.to_str().unwrap()]).unwrap();

        for input in ["../outside/secret.txt", "link/secret.txt", "file.txt", "link"] {
            assert!(refused(roots.input(Path::new(input))), "{input}");
        }
        assert!(refused(roots.input(&outside.join("secret.txt"))));
        for output in ["../outside/new", "link/new", "link/../../outside/new"] {
            assert!(refused(roots.output(output)), "{output}");
        }
        // neither is there to be resolved: refused as unusable
        assert!(roots.output("dangling").is_err());
        assert!(roots.output("missing/../../outside/new").is_err());
        // a folder beside the root whose name begins like it
        assert!(refused(roots.output(&format!("{}-2/new", root.display()))));
        // an input folder that holds a link that leads out
        std::fs::create_dir(root.join("texts")).unwrap();
        symlink(outside.join("secret.txt"), root.join("texts/a.txt")).unwrap();
        assert!(refused(roots.input(Path::new("texts"))));
        // labels beside the images that are a link
        std::fs::write(root.join("a-images-idx3-ubyte"), [0, 0, 8, 3]).unwrap();
        symlink(outside.join("secret.txt"), root.join("a-labels-idx1-ubyte")).unwrap();
        assert!(refused(roots.input(Path::new("a-images-idx3-ubyte"))));
    }

    #[test]
    fn a_dataset_is_neither_a_root_nor_among_the_records() {
        let folder = tempfile::tempdir().unwrap();
        let roots = Roots::new(&[folder.path().to_str().unwrap(), "memory://roots"]).unwrap();
        for output in [".", ".decant/jobs/x", "memory://roots", "memory://roots/.decant"] {
            assert!(matches!(roots.output(output), Err(Error::Path { .. })), "{output}");
        }
    }

    #[test]
    fn urls_are_compared_part_by_part() {
        let roots = Roots::new(&["memory://roots/a/"]).unwrap();
        assert_eq!(roots.output("memory://roots/a/b/").unwrap(), "memory://roots/a/b");
        assert!(refused(roots.output("memory://roots/ab")));
        assert!(refused(roots.output("s3://roots/a/b")));
        for hidden in [
            "memory://roots/a/../b",
            "memory://roots/a/%2e%2e/b",
            "memory://roots/a//b",
            "memory://roots/a/b?x",
        ] {
            assert!(matches!(roots.output(hidden), Err(Error::Path { .. })), "{hidden}");
        }
        assert!(matches!(roots.input(Path::new("a.txt")), Err(Error::Path { .. })));
        assert!(refused(roots.input(Path::new("/"))));
        assert!(matches!(Roots::default().output("a"), Err(Error::NoRoot)));
    }
}
