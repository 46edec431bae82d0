//! IDX, the format of MNIST: images of unsigned bytes in one file, labels in another beside it.
//!
//! <http://yann.lecun.com/exdb/mnist/>: a magic number `00 00 <type> <dimensions>`, each dimension as a big-endian u32,
//! then the values. Pixels become grayscale PNG files, made the same way every time.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::ImageEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};

use super::source::{open_file, reading, wrong};
use super::{Content, Examples, Place, RawExample};
use crate::{Error, Result};

const UNSIGNED_BYTE: u8 = 0x08;

/// Whether a file of this name, in lower case, is IDX: `train-images-idx3-ubyte`, `train-images.idx3-ubyte`, `x.idx`.
pub(super) fn has_name(lower: &str) -> bool {
    let idx = |part: &str| {
        part.strip_prefix("idx")
            .is_some_and(|rest| rest.is_empty() || rest.as_bytes()[0].is_ascii_digit())
    };
    lower.ends_with("-ubyte") && lower.split(['-', '.']).any(idx)
        || lower.rsplit_once('.').is_some_and(|(_, extension)| idx(extension))
}

/// Whether a file begins as IDX of unsigned bytes does. Text and JSON never begin with a zero byte.
pub(super) fn has_magic(head: &[u8]) -> bool {
    matches!(head, [0, 0, UNSIGNED_BYTE, 1..=4])
}

/// The labels that go with an images file: its name with `images` for `labels` and `idx3` for `idx1`.
pub(super) fn labels_beside(images: &Path) -> Option<PathBuf> {
    let name = images.file_name()?.to_str()?;
    let plain = name.replace("images", "labels").replace("idx3", "idx1");
    // As the usual mirrors spell it: `t10k-labels-idx1-ubyte` and `t10k-labels.idx1-ubyte`.
    let dashed = plain.replace(".idx1", "-idx1");
    let dotted = plain.replace("-idx1", ".idx1");
    [plain, dashed, dotted]
        .into_iter()
        .filter(|labels| labels != name)
        .map(|labels| images.with_file_name(labels))
        .find(|labels| labels.is_file())
}

/// An IDX file behind its head.
struct Values {
    file: BufReader<File>,
    path: PathBuf,
}

impl Values {
    /// Opens a file of unsigned bytes with `N` dimensions, and checks its size against them.
    fn open<const N: usize>(path: &Path, what: &str) -> Result<(Self, [u32; N])> {
        let shown = path.display();
        let mut values = Values {
            file: BufReader::new(open_file(path)?),
            path: path.to_owned(),
        };
        let magic: [u8; 4] = values.read()?;
        let expected = [0, 0, UNSIGNED_BYTE, N as u8];
        if magic != expected {
            return Err(Error::Input(format!(
                "{shown}: magic number {} is not {}, that of {what}; name the file of the {what}",
                hex(magic),
                hex(expected)
            )));
        }
        let mut dimensions = [0; N];
        for dimension in &mut dimensions {
            *dimension = u32::from_be_bytes(values.read()?);
        }
        let size = values
            .file
            .get_ref()
            .metadata()
            .map_err(|source| reading(path, source))?
            .len();
        let product = dimensions
            .iter()
            .map(|d| u64::from(*d))
            .try_fold(1u64, u64::checked_mul);
        let due = product.and_then(|product| product.checked_add(4 + 4 * N as u64));
        if due != Some(size) {
            let due = due.map_or("more than any file has".into(), |due| due.to_string());
            return Err(Error::Input(format!(
                "{shown}: {size} bytes, but its head, {dimensions:?}, announces {due}; fetch the file again"
            )));
        }
        Ok((values, dimensions))
    }

    fn read<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.file.read_exact(bytes).map_err(|source| match source.kind() {
            ErrorKind::UnexpectedEof => {
                Error::Input(format!("{}: cut short; fetch the file again", self.path.display()))
            }
            _ => reading(&self.path, source),
        })
    }
}

fn hex(magic: [u8; 4]) -> String {
    format!("0x{:08x}", u32::from_be_bytes(magic))
}

/// The images of an IDX file, with their labels where a labels file stands beside it.
pub(super) struct IdxExamples {
    images: Values,
    labels: Option<Values>,
    name: Arc<str>,
    row: u32,
    rows: u32,
    height: u32,
    width: u32,
}

impl IdxExamples {
    pub(super) fn open(path: &Path, name: Arc<str>) -> Result<Self> {
        let (images, [rows, height, width]) = Values::open(path, "images")?;
        if rows > 0 && (height == 0 || width == 0) {
            return Err(Error::Input(format!(
                "{name}: its images have {height} x {width} pixels; fetch the file again"
            )));
        }
        let mut labels = None;
        if let Some(file) = labels_beside(path) {
            let (values, [count]) = Values::open(&file, "labels")?;
            if count != rows {
                return Err(Error::Input(format!(
                    "{name}: {rows} images, but {count} labels in {}; put the labels that belong to it beside it",
                    file.display()
                )));
            }
            labels = Some(values);
        }
        Ok(IdxExamples {
            images,
            labels,
            name,
            row: 0,
            rows,
            height,
            width,
        })
    }

    fn read(&mut self, place: Place) -> Result<RawExample> {
        let mut pixels = vec![0; self.height as usize * self.width as usize];
        self.images.fill(&mut pixels)?;
        let label = self
            .labels
            .as_mut()
            .map(Values::read::<1>)
            .transpose()?
            .map(|[label]| i64::from(label));
        let mut png = Vec::new();
        // Named, not left to the encoder's defaults: the id of an example is a hash of these bytes.
        PngEncoder::new_with_quality(&mut png, CompressionType::Default, FilterType::Adaptive)
            .write_image(&pixels, self.width, self.height, image::ExtendedColorType::L8)
            .map_err(|error| wrong(&place, format!("its pixels cannot become a PNG: {error}")))?;
        Ok(RawExample {
            id: None,
            content: Content::Image(png),
            label,
            loss_mask: None,
            place,
        })
    }
}

impl Examples for IdxExamples {
    fn next(&mut self) -> Option<Result<RawExample>> {
        if self.row == self.rows {
            return None;
        }
        let place = Place::row(&self.name, u64::from(self.row));
        self.row += 1;
        Some(self.read(place))
    }
}
