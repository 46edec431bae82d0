//! Reading what users have: right values from files that other programs wrote, and clear words about broken ones.

use std::path::{Path, PathBuf};

use decant_data::input::{Content, Ids, RawExample, ReadOptions, TextUnit, open, sha256_of};
use decant_data::{Kind, Result};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/inputs")
        .join(name)
}

fn read_with(path: &Path, options: &ReadOptions) -> Result<Vec<RawExample>> {
    open(path, options)?.collect()
}

fn read(path: &Path) -> Vec<RawExample> {
    read_with(path, &ReadOptions::default()).unwrap()
}

/// What is said about an input that cannot be read, its folder left out.
fn refusal(path: &Path, options: &ReadOptions) -> String {
    let error = read_with(path, options).unwrap_err();
    assert_eq!(error.kind(), Kind::FixInput);
    let folder = format!("{}/", path.parent().unwrap().display());
    error.to_string().replace(&folder, "")
}

fn refused(path: &Path) -> String {
    refusal(path, &ReadOptions::default())
}

fn texts(examples: &[RawExample]) -> Vec<&str> {
    let texts = examples.iter().map(|example| match &example.content {
        Content::Text(text) => text.as_str(),
        other => panic!("{other:?}"),
    });
    texts.collect()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

mod parquet {
    use super::*;

    #[test]
    fn images_of_hugging_face_datasets() {
        let examples = read(&fixture("images.parquet"));
        assert_eq!(examples.len(), 70);
        for (row, example) in examples.iter().enumerate() {
            let Content::Image(bytes) = &example.content else {
                panic!("{example:?}")
            };
            let pixel = image::load_from_memory(bytes).unwrap().to_luma8().get_pixel(0, 0).0[0];
            assert_eq!(usize::from(pixel), row);
            assert_eq!(example.label, (row != 5).then_some(row as i64 % 3));
        }
        assert!(examples[69].place.to_string().ends_with("images.parquet row 69"));
        assert_eq!(examples[69].id, None);
    }

    #[test]
    fn texts_ids_and_labels_of_any_width() {
        let options = ReadOptions {
            text_column: "body".into(),
            ..ReadOptions::default()
        };
        let examples = read_with(&fixture("texts.parquet"), &options).unwrap();
        assert_eq!(texts(&examples), ["first", "zweite ü", "third"]);
        assert_eq!(
            examples.iter().map(|e| e.label).collect::<Vec<_>>(),
            [Some(0), Some(200), None]
        );
        let ids: Vec<_> = examples.iter().map(|e| e.id.as_deref()).collect();
        assert_eq!(ids, [Some("7"), Some("8"), None]);
        let message = refused(&fixture("texts.parquet"));
        let columns = "none of the columns `text`, `input_ids`, `image`; it has `body`, `label`, `id`";
        assert_eq!(message, format!("texts.parquet: {columns}: name the one to read"));
    }

    #[test]
    fn token_ids_with_their_mask() {
        let examples = read(&fixture("tokens.parquet"));
        assert_eq!(examples[0].content, Content::Tokens(vec![1, 2, 3]));
        assert_eq!(examples[0].loss_mask, Some(vec![false, true, true]));
        assert_eq!(examples[1].content, Content::Tokens(vec![4, 150_000]));
        assert_eq!(
            (examples[1].loss_mask.as_ref(), examples[1].id.as_deref()),
            (None, Some("y"))
        );
    }

    #[test]
    fn a_column_of_nulls_has_no_labels() {
        assert!(
            read(&fixture("tokens.parquet"))
                .iter()
                .all(|example| example.label.is_none())
        );
    }

    #[test]
    fn labels_that_are_names_need_the_class_names() {
        let names = |names: &[&str]| ReadOptions {
            class_names: Some(names.iter().map(|name| (*name).to_owned()).collect()),
            ..ReadOptions::default()
        };
        let file = fixture("named_labels.parquet");
        let examples = read_with(&file, &names(&["zero", "one", "two"])).unwrap();
        assert_eq!(examples.iter().map(|e| e.label).collect::<Vec<_>>(), [Some(2), Some(0)]);
        assert_eq!(
            refused(&file),
            "named_labels.parquet: column `label` has type Utf8, but it must be an integer (the class names are not known)"
        );
        assert_eq!(
            refusal(&file, &names(&["zero", "twoo"])),
            "named_labels.parquet row 0: column `label`: no class is named \"two\"; is it \"twoo\"?"
        );
    }

    #[test]
    fn broken_columns_are_named() {
        let told = |name: &str| refused(&fixture(name));
        assert_eq!(
            told("negative_token.parquet"),
            "negative_token.parquet row 0: column `input_ids`: entry 1 is -2, but it must be a token id, 0 or more"
        );
        assert_eq!(
            told("empty_text.parquet"),
            "empty_text.parquet row 1: column `text`: the text is empty; leave the row out"
        );
        assert_eq!(
            told("float_text.parquet"),
            "float_text.parquet: column `text` has type Float64, but it must be a string"
        );
        assert!(told("float_label.parquet").contains("column `label` has type Float64, but it must be an integer"));
        assert_eq!(
            told("no_bytes.parquet"),
            "no_bytes.parquet row 0: column `image` has no bytes; write the images into the file, not their paths"
        );
        assert_eq!(
            told("two_contents.parquet"),
            "two_contents.parquet: an example has one content, but there are columns `text`, `input_ids`; \
             keep one of them"
        );
        assert_eq!(told("no_rows.parquet"), "no_rows.parquet: it holds no examples");
    }

    #[test]
    fn a_damaged_file_is_never_a_panic() {
        let (folder, whole) = (Folder::new(), std::fs::read(fixture("tokens.parquet")).unwrap());
        let mut refused = 0;
        for place in 4..whole.len() - 8 {
            let mut bytes = whole.clone();
            bytes[place] ^= 1;
            let damaged = folder.file("damaged.parquet", &bytes);
            if let Err(error) = read_with(&damaged, &ReadOptions::default()) {
                assert!(error.to_string().contains("damaged.parquet"), "{error}");
                refused += 1;
            }
        }
        assert!(refused > 0);
    }

    #[test]
    fn a_file_cut_short_is_refused() {
        let folder = Folder::new();
        let whole = std::fs::read(fixture("images.parquet")).unwrap();
        let message = refused(&folder.file("cut.parquet", &whole[..whole.len() / 2]));
        assert!(
            message.starts_with("cut.parquet: not readable as Parquet: "),
            "{message}"
        );
        let message = refused(&folder.file("not.parquet", "text"));
        assert!(
            message.starts_with("not.parquet: not a Parquet file (it does not begin with PAR1)"),
            "{message}"
        );
    }
}

mod json_lines {
    use super::*;

    fn told(line: &str) -> String {
        refused(&Folder::new().file("in.jsonl", format!("{{\"text\": \"good\"}}\n{line}\n")))
    }

    #[test]
    fn texts_and_tokens_with_what_is_known_of_them() {
        let folder = Folder::new();
        let lines = concat!(
            "\u{feff}{\"text\": \"a \\u00fc\", \"id\": \"x\", \"label\": 3, \"other\": {\"kept\": false}}\n",
            "\n   \r\n",
            "{\"input_ids\": [5, 6], \"id\": 12, \"label\": null, \"loss_mask\": [0, true]}\r\n",
            "{\"text\": \"no line end\"}"
        );
        let path = folder.file("in.jsonl", lines);
        let mut reader = open(&path, &ReadOptions::default()).unwrap();
        let examples: Vec<RawExample> = reader.by_ref().map(Result::unwrap).collect();
        assert_eq!(reader.blank(), 2);
        assert_eq!(
            texts(&[examples[0].clone(), examples[2].clone()]),
            ["a ü", "no line end"]
        );
        assert_eq!((examples[0].id.as_deref(), examples[0].label), (Some("x"), Some(3)));
        assert_eq!(examples[1].content, Content::Tokens(vec![5, 6]));
        assert_eq!((examples[1].id.as_deref(), examples[1].label), (Some("12"), None));
        assert_eq!(examples[1].loss_mask, Some(vec![false, true]));
        let places: Vec<_> = examples.iter().map(|e| e.place.to_string()).collect();
        assert_eq!(places, [1, 4, 5].map(|line| format!("{}:{line}", path.display())));
    }

    #[test]
    fn a_broken_line_is_named_and_ends_the_reading() {
        let message = told("{\"text\": \"a\",}");
        assert_eq!(
            message,
            "in.jsonl:2: not JSON: trailing comma, column 14; mend the line"
        );
        assert_eq!(
            told("{\"text\": \"a"),
            "in.jsonl:2: not JSON: EOF while parsing a string, column 11; mend the line"
        );
        assert_eq!(told("[1, 2]"), "in.jsonl:2: an array, but each line must be an object");
        let folder = Folder::new();
        let array = folder.file("in.json", "[\n{\"text\": \"a\"}\n]\n");
        assert!(refused(&array).contains("in.json:1: not JSON: "), "{}", refused(&array));
        assert!(refused(&array).ends_with("an array over lines? write one object a line"));
        let path = folder.file("in.jsonl", "{\"text\": \"a\"}\n{}\n{\"text\": \"b\"}\n");
        let items: Vec<bool> = open(&path, &ReadOptions::default())
            .unwrap()
            .map(|item| item.is_ok())
            .collect();
        assert_eq!(items, [true, false]);
    }

    #[test]
    fn a_wrong_type_names_its_key() {
        for (line, message) in [
            ("{\"text\": 3}", "key `text`: a number (3), but it must be a string"),
            ("{\"text\": \" \"}", "key `text`: the text is empty; leave the line out"),
            (
                "{\"text\": \"a\", \"label\": 1.5}",
                "key `label`: a number (1.5), but it must be the number of a class",
            ),
            (
                "{\"text\": \"a\", \"label\": \"cat\"}",
                "key `label`: the label is a name (\"cat\") and the class names are not known; give numbers",
            ),
            (
                "{\"text\": \"a\", \"id\": [1]}",
                "key `id`: an array, but it must be a string or an integer",
            ),
            (
                "{\"text\": \"a\", \"loss_mask\": [true]}",
                "key `loss_mask` goes with `input_ids` only: a text has no tokens yet",
            ),
            (
                "{\"text\": \"a\", \"input_ids\": [1]}",
                "both key `text` and key `input_ids`; keep one of them",
            ),
            (
                "{\"input_ids\": \"1 2\"}",
                "key `input_ids`: a string (\"1 2\"), but it must be an array of token ids",
            ),
            ("{\"input_ids\": []}", "key `input_ids`: no tokens; leave the line out"),
            (
                "{\"input_ids\": [1, 4294967296]}",
                "key `input_ids`: entry 1 is 4294967296, but it must be a token id, 0 or more",
            ),
            (
                "{\"input_ids\": [1, 2], \"loss_mask\": [true]}",
                "key `loss_mask`: 1 entries for 2 tokens; give one for each",
            ),
            (
                "{\"input_ids\": [1], \"loss_mask\": [2]}",
                "key `loss_mask`: entry 0 is 2, but it must be true, false, 1 or 0",
            ),
            (
                "{\"texts\": \"a\"}",
                "neither key `text` nor key `input_ids`; is it `texts`? then name that as the text column",
            ),
            (
                "{}",
                "neither key `text` nor key `input_ids`; add it, or name the text column",
            ),
        ] {
            assert_eq!(told(line), format!("in.jsonl:2: {message}"));
        }
    }
}

mod text {
    use super::*;

    fn by_line() -> ReadOptions {
        ReadOptions {
            text_unit: TextUnit::Line,
            ..ReadOptions::default()
        }
    }

    #[test]
    fn one_document_a_file_or_a_line() {
        let folder = Folder::new();
        let path = folder.file("a.txt", "one\r\n\n  \ntwo  \nthree");
        assert_eq!(
            texts(&read(&path)),
            ["one\r\n\n  \ntwo  \nthree"],
            "as it is, byte for byte"
        );
        let mut reader = open(&path, &by_line()).unwrap();
        let examples: Vec<RawExample> = reader.by_ref().map(Result::unwrap).collect();
        assert_eq!((texts(&examples), reader.blank()), (vec!["one", "two  ", "three"], 2));
        assert!(examples[1].place.to_string().ends_with("a.txt:4"));
    }

    #[test]
    fn a_folder_is_read_in_the_order_of_names() {
        let folder = Folder::new();
        folder.file("b.txt", "second\n\n");
        folder.file("a.txt", "first\n");
        folder.file(".hidden", "never");
        assert_eq!(texts(&read(folder.0.path())), ["first\n", "second\n\n"]);
        let mut reader = open(folder.0.path(), &by_line()).unwrap();
        assert_eq!((reader.by_ref().count(), reader.blank()), (2, 1));
        folder.file("c.jsonl", "{\"text\": \"a\"}");
        assert!(
            refused(folder.0.path())
                .ends_with("a.txt is text, c.jsonl is JSON lines; put files of one kind in a folder")
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_are_named() {
        let folder = Folder::new();
        let path = folder.file("latin1.txt", b"first\nna\xefve\n");
        let what = "not UTF-8: byte 0xef at byte offset 8; convert the file to UTF-8";
        assert_eq!(refused(&path), format!("latin1.txt: {what}"));
        assert_eq!(refusal(&path, &by_line()), format!("latin1.txt:2: {what}"));
    }

    #[test]
    fn nothing_to_read_is_refused() {
        let folder = Folder::new();
        assert_eq!(
            refused(&folder.file("a.txt", " \n")),
            "a.txt: the document is empty; leave the file out"
        );
        assert_eq!(
            refusal(&folder.file("b.txt", "\n \n"), &by_line()),
            "b.txt: it holds no examples"
        );
        assert!(refused(&folder.0.path().join("none.txt")).starts_with("reading none.txt: "));
        assert!(refused(Folder::new().0.path()).ends_with("the folder holds no files"));
        let gzip = folder.file("a.txt.gz", [0x1f, 0x8b, 8, 0, 0, 0]);
        assert_eq!(refused(&gzip), "a.txt.gz: compressed with gzip; gunzip it first");
    }
}

mod idx {
    use super::*;

    fn idx(magic: [u8; 4], dimensions: &[u32], values: &[u8]) -> Vec<u8> {
        let dimensions: Vec<u8> = dimensions.iter().flat_map(|d| d.to_be_bytes()).collect();
        [&magic, dimensions.as_slice(), values].concat()
    }

    const IMAGES: [u8; 4] = [0, 0, 8, 3];
    const LABELS: [u8; 4] = [0, 0, 8, 1];

    #[test]
    fn pixels_become_png_and_labels_are_found_beside() {
        for (images, labels) in [
            ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
            ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
            ("train-images-idx3-ubyte", "train-labels.idx1-ubyte"),
        ] {
            let folder = Folder::new();
            let pixels: Vec<u8> = (0..12).map(|pixel| pixel * 20).collect();
            let path = folder.file(images, idx(IMAGES, &[2, 3, 2], &pixels));
            folder.file(labels, idx(LABELS, &[2], &[7, 9]));
            let examples = read(&path);
            assert_eq!(examples.iter().map(|e| e.label).collect::<Vec<_>>(), [Some(7), Some(9)]);
            for (example, pixels) in examples.iter().zip(pixels.chunks(6)) {
                let Content::Image(png) = &example.content else {
                    panic!("{example:?}")
                };
                let decoded = image::load_from_memory(png).unwrap();
                assert_eq!(
                    (decoded.width(), decoded.height(), decoded.color()),
                    (2, 3, image::ColorType::L8)
                );
                assert_eq!(decoded.as_bytes(), pixels);
            }
            assert_eq!(examples, read(&path), "the same bytes every time");
        }
    }

    #[test]
    fn without_labels_there_are_none() {
        let folder = Folder::new();
        let path = folder.file("digits.idx", idx(IMAGES, &[1, 1, 1], &[3]));
        assert_eq!(read(&path)[0].label, None);
        let path = folder.file("no-name", idx(IMAGES, &[1, 1, 1], &[3]));
        assert_eq!(read(&path).len(), 1, "known by its magic number");
    }

    #[test]
    fn broken_files_are_named() {
        let folder = Folder::new();
        let name = "train-images-idx3-ubyte";
        let told = |bytes: Vec<u8>| refused(&folder.file(name, bytes));
        assert_eq!(
            told(idx(IMAGES, &[2, 2, 2], &[0; 7])),
            format!("{name}: 23 bytes, but its head, [2, 2, 2], announces 24; fetch the file again")
        );
        assert_eq!(
            told(idx(LABELS, &[2], &[0; 2])),
            format!("{name}: magic number 0x00000801 is not 0x00000803, that of images; name the file of the images")
        );
        assert_eq!(told(vec![0, 0]), format!("{name}: cut short; fetch the file again"));
        assert!(told(idx(IMAGES, &[u32::MAX, u32::MAX, u32::MAX], &[])).contains("announces more than any file has"));
        assert_eq!(
            told(idx(IMAGES, &[0, 2, 2], &[])),
            format!("{name}: it holds no examples")
        );
        folder.file("train-labels-idx1-ubyte", idx(LABELS, &[2], &[0; 2]));
        assert!(told(idx(IMAGES, &[1, 1, 1], &[0])).starts_with(&format!("{name}: 1 images, but 2 labels in ")));
    }

    #[test]
    fn mnist() {
        let Some(assets) = std::env::var_os("DECANT_ASSETS").map(PathBuf::from) else {
            return eprintln!("skipped: DECANT_ASSETS does not name the folder of real models and data");
        };
        let assets = if assets.join("mnist").is_dir() {
            assets.join("mnist")
        } else {
            assets
        };
        let path = assets.join("t10k-images-idx3-ubyte");
        if !path.is_file() {
            return eprintln!("skipped: no mnist in DECANT_ASSETS");
        }
        let examples = read(&path);
        // numpy: labels = np.fromfile("t10k-labels-idx1-ubyte", np.uint8)[8:]; labels[:5], np.bincount(labels)
        assert_eq!(
            examples[..5].iter().map(|e| e.label.unwrap()).collect::<Vec<_>>(),
            [7, 2, 1, 0, 4]
        );
        let mut counts = [0; 10];
        examples
            .iter()
            .for_each(|example| counts[example.label.unwrap() as usize] += 1);
        assert_eq!(counts, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
        // numpy: np.fromfile("t10k-images-idx3-ubyte", np.uint8)[16:].reshape(-1, 784).sum(1, dtype=int)[[0, 9999]]
        for (row, sum) in [(0, 18454), (9999, 41833)] {
            let Content::Image(png) = &examples[row].content else {
                panic!()
            };
            let decoded = image::load_from_memory(png).unwrap();
            assert_eq!(
                decoded.as_bytes().iter().map(|pixel| u64::from(*pixel)).sum::<u64>(),
                sum
            );
        }
        let mut ids = Ids::default();
        let unique: std::collections::HashSet<_> = examples.iter().map(|e| ids.assign(e).unwrap()).collect();
        assert_eq!(unique.len(), examples.len());
    }
}

#[test]
fn an_input_has_one_hash_whatever_it_consists_of() {
    let folder = Folder::new();
    let a = folder.file("a.txt", "abc");
    // printf abc | sha256sum
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let digest = sha256_of(&a).unwrap();
    assert_eq!((digest.sha256.as_str(), digest.bytes), (abc, 3));
    folder.file("b.txt", "");
    // (printf abc >a.txt; : >b.txt; sha256sum a.txt b.txt | sha256sum)
    let digest = sha256_of(folder.0.path()).unwrap();
    assert_eq!(
        (digest.sha256.as_str(), digest.bytes),
        ("b49791236586476825b333079257905f8aa8f3f74345d698a8a081c6b77b6977", 3)
    );

    let idx = Folder::new();
    let images = idx.file("x-images-idx3-ubyte", [0, 0, 8, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let alone = sha256_of(&images).unwrap();
    idx.file("x-labels-idx1-ubyte", [0, 0, 8, 1, 0, 0, 0, 0]);
    let labelled = sha256_of(&images).unwrap();
    assert_ne!(alone.sha256, labelled.sha256, "the labels are part of the input");
    assert_eq!((alone.bytes, labelled.bytes), (16, 24));
}
