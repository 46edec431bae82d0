use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::*;

#[derive(Parser, Debug)]
struct Cli {
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Sub,
}

#[derive(Subcommand, Debug)]
enum Sub {
    Plan(Plan),
    Serve {
        #[arg(long)]
        listen: String,
    },
}

#[derive(Args, Debug)]
struct Plan {
    #[arg(long)]
    max_length: u32,
    #[arg(long, value_delimiter = ',', default_value = "1")]
    temperatures: Vec<f32>,
    #[arg(long, default_value = "dense")]
    codec: String,
    #[arg(long)]
    truncate: bool,
    #[command(flatten)]
    source: Source,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Source {
    #[arg(long)]
    input: Option<PathBuf>,
    #[arg(long)]
    split: Vec<String>,
}

fn file(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("decant-cli-{}-{name}.toml", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

fn parsed(words: &[&str]) -> Result<Cli, ParseError> {
    parse_from(std::iter::once("x").chain(words.iter().copied()).map(OsString::from))
}

fn plan(words: &[&str]) -> Plan {
    match parsed(words).unwrap().command {
        Sub::Plan(plan) => plan,
        other => panic!("{other:?}"),
    }
}

fn refusal(text: &str, name: &str) -> String {
    let path = file(name, text);
    let error = parsed(&["plan", "--config", path.to_str().unwrap()]).unwrap_err();
    error.to_string().replace(path.to_str().unwrap(), "FILE")
}

#[test]
fn a_file_gives_what_flags_leave_open() {
    let path = file(
        "open",
        "max_length = 128\ntemperatures = [1, 2.5]\ntruncate = true\ninput = 'a.parquet'\n[plan]\nmax-length = 64\n",
    );
    let path = path.to_str().unwrap();
    let from_file = plan(&["plan", "--config", path]);
    assert_eq!(
        from_file.max_length, 64,
        "a subcommand's table wins over the top of the file"
    );
    assert_eq!(from_file.temperatures, [1.0, 2.5]);
    assert!(from_file.truncate);
    assert_eq!(from_file.codec, "dense", "the built-in default, where nobody says more");
    assert_eq!(from_file.source.input, Some(PathBuf::from("a.parquet")));

    let flags = plan(&[
        "plan",
        &format!("--config={path}"),
        "--max-length",
        "9",
        "--temperatures",
        "4",
    ]);
    assert_eq!((flags.max_length, flags.temperatures), (9, vec![4.0]));
    let other = plan(&["plan", "--config", path, "--split", "train=b"]);
    assert_eq!(other.source.split, ["train=b"]);
}

/// A command of its own: no other test reads the variable that this one sets.
#[derive(Parser)]
struct Layers {
    #[arg(long)]
    #[allow(dead_code)]
    config: Option<PathBuf>,
    #[arg(long, env = "DECANT_CLI_TEST_CODEC", default_value = "built-in")]
    codec: String,
}

#[test]
fn the_environment_stands_between_flag_and_file() {
    let path = file("env", "codec = 'from-file'\n");
    let codec = |words: &[&str]| {
        let words = std::iter::once("x").chain(words.iter().copied()).map(OsString::from);
        let layers: Layers = parse_from(words).unwrap();
        layers.codec
    };
    let with_file = ["--config", path.to_str().unwrap()];
    let with_flag = [with_file.as_slice(), &["--codec", "from-flag"]].concat();
    assert_eq!([codec(&[]), codec(&with_file)], ["built-in", "from-file"]);
    // SAFETY: all access to the environment in these tests goes through `std`, which locks it.
    unsafe { std::env::set_var("DECANT_CLI_TEST_CODEC", "from-env") };
    assert_eq!(
        [codec(&[]), codec(&with_file), codec(&with_flag)],
        ["from-env", "from-env", "from-flag"]
    );
    // SAFETY: as above.
    unsafe { std::env::remove_var("DECANT_CLI_TEST_CODEC") };
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest() {
    assert_eq!(
        refusal("# a\nmax_lenght = 3\n", "unknown"),
        "FILE:2: unknown key `max_lenght`; did you mean `max_length`?"
    );
    assert_eq!(
        refusal("[plan]\nlisten = 'x'\n", "elsewhere"),
        "FILE:2: unknown key `listen`"
    );
    assert_eq!(refusal("[plam]\nx = 1\n", "table"), "FILE:1: unknown key `plam`");
    assert_eq!(
        refusal("config = 'b.toml'\n", "nested").split(';').next(),
        Some("FILE:1: unknown key `config`")
    );
}

#[test]
fn a_value_that_its_flag_does_not_take_is_refused_at_its_line() {
    let text = refusal("\nmax_length = -4\n", "value");
    assert!(
        text.starts_with("FILE:2: key `max_length`: invalid value '-4'"),
        "{text}"
    );
    let text = refusal("truncate = 3\n", "switch");
    assert_eq!(text, "FILE:1: key `truncate`: takes true or false");
    let text = refusal("max_length = [3, 4]\n", "several");
    assert!(text.starts_with("FILE:1: key `max_length`:"), "{text}");
    let text = refusal("a = = 3\n", "syntax");
    assert!(text.starts_with("FILE:1: "), "{text}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = parsed(&["plan", "--config", "/no/such.toml"]).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot read configuration file /no/such.toml: "),
        "{error}"
    );
}

#[test]
fn a_whole_file_is_read_with_the_same_care() {
    #[derive(serde::Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    struct Whole {
        soft_weight: f32,
        #[allow(dead_code)]
        steps: Option<u32>,
    }
    assert_eq!(
        read::<Whole>(&file("whole", "soft_weight = 0.5\n"))
            .unwrap()
            .soft_weight,
        0.5
    );
    let told = |name: &str, text: &str| {
        let path = file(name, text);
        read::<Whole>(&path)
            .unwrap_err()
            .to_string()
            .replace(path.to_str().unwrap(), "FILE")
    };
    assert_eq!(
        told("whole-key", "soft_weight = 1.0\nstep = 3\n"),
        "FILE:2: unknown key `step`; did you mean `steps`?"
    );
    assert!(told("whole-type", "soft_weight = 'x'\n").starts_with("FILE:1: invalid type: string"));
}
