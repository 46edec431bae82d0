//! Configuration layers: flags, then `DECANT_*` environment variables, then a TOML file, then built-in defaults.
//!
//! Flags and the environment are clap's own (`#[arg(long, env = "DECANT_...")]`). A file joins them as the default
//! values of the flags that it names, so that one definition, the flag's, says what a key means and which values it
//! takes.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command, Parser};
use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use crate::nearest;

/// The flag that names the file, and the environment variable that does.
const CONFIG_FLAG: &str = "config";
const CONFIG_ENV: &str = "DECANT_CONFIG";

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration file {}: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML, or its values do not have the types that they must have.
    #[error("{}:{line}: {message}", file.display())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// A key that no flag has.
    #[error("{}:{line}: unknown key `{key}`{}", file.display(), hint(nearest))]
    UnknownKey {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The key as the file spells it.
        key: String,
        /// The known key that is most like it.
        nearest: Option<String>,
    },
}

fn hint(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map(|name| format!("; did you mean `{name}`?"))
        .unwrap_or_default()
}

/// Parses the process's command line through all layers, or ends the process as clap does (usage: 2).
///
/// The file is the one that `--config FILE` or `DECANT_CONFIG` names; the command defines that flag itself.
pub fn parse<A: Parser>() -> A {
    parse_from(std::env::args_os()).unwrap_or_else(|error| match error {
        ParseError::Command(error) => error.exit(),
        ParseError::Config(error) => {
            crate::tell(crate::error_line(&error));
            std::process::exit(2)
        }
    })
}

/// Why a command line could not be parsed.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// What clap says, help and version included.
    #[error(transparent)]
    Command(#[from] clap::Error),
    /// What is wrong with the configuration file.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// [`parse`] for given arguments, the program's name first.
///
/// # Errors
/// Those of clap, and those of [`layered`].
pub fn parse_from<A: Parser>(arguments: impl IntoIterator<Item = OsString>) -> Result<A, ParseError> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let file = config_file(&arguments).or_else(|| {
        std::env::var_os(CONFIG_ENV)
            .filter(|file| !file.is_empty())
            .map(PathBuf::from)
    });
    let command = layered(A::command(), file.as_deref())?;
    let matches = command.try_get_matches_from(arguments)?;
    Ok(A::from_arg_matches(&matches)?)
}

/// The value of `--config` before the command line is parsed.
fn config_file(arguments: &[OsString]) -> Option<PathBuf> {
    let mut arguments = arguments.iter().take_while(|argument| *argument != "--");
    while let Some(argument) = arguments.next() {
        let Some(rest) = argument
            .to_str()
            .and_then(|a| a.strip_prefix("--")?.strip_prefix(CONFIG_FLAG))
        else {
            continue;
        };
        if rest.is_empty() {
            return arguments.next().map(PathBuf::from);
        }
        if let Some(file) = rest.strip_prefix('=') {
            return Some(PathBuf::from(file));
        }
    }
    None
}

/// The command with the file's values as the defaults of its flags; without a file, the command as it is.
///
/// A key is a flag's long name, with `_` or `-`. At the top of the file it sets that flag in every subcommand that has
/// it; in a table `[subcommand]` it sets it there alone. A flag that may be repeated, or takes a list, takes an array.
///
/// # Errors
/// A file that cannot be read or is not TOML; a key that no flag has, with the nearest name; a value that its flag does
/// not take.
pub fn layered(command: Command, file: Option<&Path>) -> Result<Command, ConfigError> {
    let Some(file) = file else { return Ok(command) };
    let text = read_file(file)?;
    let source = Source { file, text: &text };
    let table = DeTable::parse(&text).map_err(|error| source.invalid(error.span(), error.message()))?;
    source.apply(command, table.get_ref())
}

/// Reads a whole TOML file into `T`, whose fields are its keys.
///
/// `T` refuses what it does not know by `#[serde(deny_unknown_fields)]`; the nearest known key is added here.
///
/// # Errors
/// A file that cannot be read, is not TOML or does not fit `T`: with its line.
pub fn read<T: DeserializeOwned>(file: &Path) -> Result<T, ConfigError> {
    let text = read_file(file)?;
    let source = Source { file, text: &text };
    toml::from_str(&text).map_err(|error| {
        let line = source.line(error.span());
        let mut names = error.message().split('`').skip(1).step_by(2);
        match (error.message().starts_with("unknown field `"), names.next()) {
            (true, Some(key)) => ConfigError::UnknownKey {
                file: file.to_owned(),
                line,
                key: key.to_owned(),
                nearest: nearest(key, names).map(str::to_owned),
            },
            _ => source.invalid(error.span(), error.message()),
        }
    })
}

fn read_file(file: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(file).map_err(|source| ConfigError::Unreadable {
        file: file.to_owned(),
        source,
    })
}

/// One configuration file, for naming places in it.
struct Source<'a> {
    file: &'a Path,
    text: &'a str,
}

type Span = std::ops::Range<usize>;

impl Source<'_> {
    fn line(&self, span: Option<Span>) -> usize {
        let start = span.map_or(0, |span| span.start).min(self.text.len());
        1 + self.text.as_bytes()[..start]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
    }

    fn invalid(&self, span: Option<Span>, message: &str) -> ConfigError {
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        ConfigError::Invalid {
            file: self.file.to_owned(),
            line: self.line(span),
            message,
        }
    }

    fn apply(&self, mut command: Command, table: &DeTable<'_>) -> Result<Command, ConfigError> {
        // Keys at the top first: a subcommand's own table wins over them.
        let (tables, keys): (Vec<_>, Vec<_>) = table.iter().partition(|(_, value)| value.get_ref().is_table());
        for (key, value) in keys.into_iter().chain(tables) {
            let name: &str = key.get_ref();
            if let DeValue::Table(inner) = value.get_ref()
                && let Some(sub) = command.find_subcommand(name).map(|sub| sub.get_name().to_owned())
            {
                let changed = self.apply(command.find_subcommand(&sub).cloned().unwrap_or_default(), inner)?;
                command = command.mut_subcommand(sub, |_| changed);
                continue;
            }
            let flag = name.replace('_', "-");
            if !knows(&command, &flag) {
                return Err(ConfigError::UnknownKey {
                    file: self.file.to_owned(),
                    line: self.line(Some(key.span())),
                    key: name.to_owned(),
                    nearest: nearest(name, &known_keys(&command)).map(str::to_owned),
                });
            }
            let values = words(value.get_ref())
                .ok_or_else(|| self.invalid(Some(value.span()), &format!("key `{name}` takes no table")))?;
            for path in holders(&command, &flag) {
                if let Some(message) = refused(&command, &path, &flag, &values) {
                    return Err(self.invalid(Some(value.span()), &format!("key `{name}`: {message}")));
                }
            }
            command = with_default(command, &flag, &values);
        }
        Ok(command)
    }
}

/// Whether a file may set this flag: it has a long name, and does something other than print and end.
fn settable(arg: &Arg) -> Option<&str> {
    let prints = matches!(
        arg.get_action(),
        ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
    );
    arg.get_long()
        .filter(|long| !prints && *long != CONFIG_FLAG && *long != "help" && *long != "version")
}

fn flags(command: &Command) -> impl Iterator<Item = (&Arg, &str)> {
    command
        .get_arguments()
        .filter_map(|arg| settable(arg).map(|long| (arg, long)))
}

fn knows(command: &Command, flag: &str) -> bool {
    flags(command).any(|(_, long)| long == flag) || command.get_subcommands().any(|sub| knows(sub, flag))
}

fn known_keys(command: &Command) -> BTreeSet<String> {
    let own = flags(command).map(|(_, long)| long.replace('-', "_"));
    own.chain(command.get_subcommands().flat_map(known_keys)).collect()
}

/// The subcommand paths under which a command has the flag.
fn holders(command: &Command, flag: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    if flags(command).any(|(_, long)| long == flag) {
        paths.push(Vec::new());
    }
    for sub in command.get_subcommands() {
        for mut path in holders(sub, flag) {
            path.insert(0, sub.get_name().to_owned());
            paths.push(path);
        }
    }
    paths
}

/// What clap says about values that the flag does not take.
fn refused(command: &Command, path: &[String], flag: &str, values: &[String]) -> Option<String> {
    let holder = path
        .iter()
        .try_fold(command, |command, name| command.find_subcommand(name))?;
    let (arg, _) = flags(holder).find(|(_, long)| *long == flag)?;
    if !arg.get_action().takes_values() {
        let fits = matches!(values, [value] if value == "true" || value == "false");
        return (!fits).then(|| "takes true or false".to_owned());
    }
    let mut line = vec![command.get_name().to_owned()];
    line.extend(path.iter().cloned());
    line.extend(values.iter().map(|value| format!("--{flag}={value}")));
    let error = command.clone().try_get_matches_from(line).err()?;
    let about_it = matches!(error.get(ContextKind::InvalidArg), Some(ContextValue::String(arg)) if arg.split([' ', '=']).next() == Some(&format!("--{flag}")));
    let about_values = matches!(
        error.kind(),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::ArgumentConflict
    );
    (about_it && about_values).then(|| {
        let text = error.to_string();
        let end = text
            .find("\n\nFor more information")
            .or_else(|| text.find("\n\nUsage"))
            .unwrap_or(text.len());
        text[..end].trim_start_matches("error: ").to_owned()
    })
}

fn with_default(mut command: Command, flag: &str, values: &[String]) -> Command {
    let id = flags(&command)
        .find(|(_, long)| *long == flag)
        .map(|(arg, _)| arg.get_id().clone());
    if let Some(id) = id {
        // A default does not satisfy `required`, in clap's eyes: a value from the file does, in ours.
        let groups: Vec<_> = command
            .get_groups()
            .filter(|group| group.get_args().any(|arg| *arg == id))
            .cloned()
            .collect();
        for group in groups {
            command = command.mut_group(group.get_id().clone(), |group| group.required(false));
        }
        command = command.mut_arg(id, |arg| arg.required(false).default_values(values.to_vec()));
    }
    let subs: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    subs.into_iter().fold(command, |command, sub| {
        command.mut_subcommand(sub, |sub| with_default(sub, flag, values))
    })
}

/// A TOML value as the words that would follow its flag; a table has none.
fn words(value: &DeValue<'_>) -> Option<Vec<String>> {
    Some(vec![match value {
        DeValue::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(|item| words(item.get_ref())).collect();
            return items.map(|items| items.concat());
        }
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Table(_) => return None,
    }])
}

#[cfg(test)]
mod tests;
