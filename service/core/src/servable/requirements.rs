//! `requirements.txt`: what MLflow found a model to import, as pip reads it
//! (<https://packaging.python.org/en/latest/specifications/dependency-specifiers/>).

use std::cmp::Ordering;

use super::{Unreadable, version};

/// The most requirements of a file.
const REQUIREMENTS_MAX: usize = 2_000;

/// The file's name in an artifact, for messages.
const FILE: &str = "requirements.txt";

/// The operators of version specifiers, the longer ones first.
const OPERATORS: [&str; 8] = ["===", "==", "~=", "!=", ">=", "<=", ">", "<"];

/// The packages that a model asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requirements(pub Vec<Requirement>);

/// One package with the versions that fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Its normalised name (PEP 503): lower case, with one `-` for every run of `-`, `_` and `.`.
    pub name: String,
    /// Operator and version of every specifier, all of which must hold; none: any version.
    pub specifiers: Vec<(&'static str, String)>,
    /// Whether a marker (`; python_version < "3.9"`) says where it is meant for. Such a one is not compared.
    pub conditional: bool,
}

impl Requirements {
    /// The longest file in bytes; MLflow writes a line a package, and the longest real ones have some hundred.
    pub const BYTES_MAX: usize = 256 * 1024;

    /// Reads the file. Options (`-r`, `--index-url`) and lines that name no package (a path, an address) are passed over: there is
    /// nothing to compare them with.
    ///
    /// # Errors
    /// It is no text, or beyond the bounds.
    pub fn parse(bytes: &[u8]) -> Result<Self, Unreadable> {
        let unreadable = |fault: &str| Unreadable { file: FILE, fault: fault.to_owned() };
        if bytes.len() > Self::BYTES_MAX {
            return Err(unreadable("is longer than 256 KiB"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| unreadable("is not UTF-8 text"))?;
        let joined = text.trim_start_matches('\u{feff}').replace("\\\r\n", " ").replace("\\\n", " ");
        let found: Vec<Requirement> =
            joined.lines().filter_map(Requirement::parse).take(REQUIREMENTS_MAX + 1).collect();
        if found.len() > REQUIREMENTS_MAX {
            return Err(unreadable("names more than 2,000 packages"));
        }
        Ok(Self(found))
    }
}

impl Requirement {
    /// Reads one line; none where it names no package.
    fn parse(line: &str) -> Option<Self> {
        let line = line.split_once(" #").map_or(line, |(line, _)| line).trim();
        if line.starts_with(['#', '-']) {
            return None;
        }
        // Hashes and other options of the line.
        let line = line.split_once(" --").map_or(line, |(line, _)| line);
        let (what, marker) = line.split_once(';').map_or((line, None), |(what, marker)| (what, Some(marker)));
        let name_end = what.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))).unwrap_or(what.len());
        let (name, rest) = what.split_at(name_end);
        let mut rest = rest.trim();
        if let Some(extras) = rest.strip_prefix('[') {
            rest = extras.split_once(']')?.1.trim();
        }
        let is_name = name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.ends_with(|c: char| c.is_ascii_alphanumeric());
        // `pkg @ https://…` names a package of whatever version.
        let specifiers = if rest.starts_with('@') { Vec::new() } else { specifiers(rest)? };
        // The file of a wheel is a path, and `/` or `:` behind the name an address.
        let is_file = specifiers.is_empty() && [".whl", ".gz", ".zip"].iter().any(|ending| name.ends_with(ending));
        (is_name && !is_file).then(|| Self { name: normalised(name), specifiers, conditional: marker.is_some() })
    }

    /// Whether a version fits. `==` asks for the same major and minor number only: what a model was logged with is always pinned whole,
    /// and another patch loads it.
    pub fn fits(&self, have: &str) -> bool {
        let Some(have) = version::numbers(have) else { return true };
        self.specifiers.iter().all(|(operator, wanted)| {
            let Some(numbers) = version::numbers(wanted) else { return true };
            let order = version::compare(&have, &numbers);
            match *operator {
                "==" | "===" if wanted.ends_with(".*") => version::agree(&have, &numbers, numbers.len()),
                "==" | "===" => version::agree(&have, &numbers, 2),
                "!=" if wanted.ends_with(".*") => !version::agree(&have, &numbers, numbers.len()),
                "!=" => order != Ordering::Equal,
                "~=" => order != Ordering::Less && version::agree(&have, &numbers, numbers.len().saturating_sub(1)),
                ">=" => order != Ordering::Less,
                "<=" => order != Ordering::Greater,
                ">" => order == Ordering::Greater,
                _ => order == Ordering::Less,
            }
        })
    }

    /// The versions that fit, as they were written: `1.5.2` for a pinned one, else `>=1,<2`; empty for any.
    pub fn wanted(&self) -> String {
        match self.specifiers.as_slice() {
            [("==" | "===", version)] => version.clone(),
            specifiers => {
                let texts: Vec<String> =
                    specifiers.iter().map(|(operator, text)| format!("{operator}{text}")).collect();
                texts.join(",")
            }
        }
    }
}

/// A package's name as PEP 503 compares it.
pub(super) fn normalised(name: &str) -> String {
    let parts: Vec<String> =
        name.trim().split(['-', '_', '.']).filter(|part| !part.is_empty()).map(str::to_ascii_lowercase).collect();
    parts.join("-")
}

/// The specifiers behind a name; none where it is something else.
fn specifiers(text: &str) -> Option<Vec<(&'static str, String)>> {
    let text = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(text).trim();
    let one = |text: &str| {
        let text = text.trim();
        let operator = OPERATORS.into_iter().find(|operator| text.starts_with(operator))?;
        let version = text[operator.len()..].trim();
        let is_version = (1..=64).contains(&version.len())
            && version.bytes().all(|b| b.is_ascii_alphanumeric() || b".!+*_-".contains(&b));
        is_version.then(|| (operator, version.to_owned()))
    };
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(one).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<String> {
        let shown = |r: &Requirement| {
            format!("{} {}{}", r.name, r.wanted(), if r.conditional { " ?" } else { "" }).trim_end().to_owned()
        };
        Requirements::parse(text.as_bytes()).unwrap().0.iter().map(shown).collect()
    }

    #[test]
    fn what_mlflow_writes_is_read() {
        let skops = Requirements::parse(include_bytes!("samples/skops.txt")).unwrap();
        let names: Vec<&str> = skops.0.iter().map(|r| r.name.as_str()).collect();
        assert_eq!(names, ["mlflow", "numpy", "pandas", "scikit-learn", "scipy", "skops"]);
        assert_eq!(skops.0[3].wanted(), "1.9.1");
        assert_eq!(read(include_str!("samples/pyfunc.txt")), ["mlflow", "numpy <3,>=1.20"]);
    }

    #[test]
    fn names_are_compared_as_pip_compares_them() {
        for (line, expected) in [
            ("Scikit_Learn == 1.5.2", "scikit-learn 1.5.2"),
            ("ruamel.yaml", "ruamel-yaml"),
            ("a-_.b", "a-b"),
            ("mlflow[extras, auth]>=2,<4", "mlflow >=2,<4"),
            ("torch (>=2.1)", "torch >=2.1"),
            ("own @ https://example.com/own-1.0.whl", "own"),
            ("pywin32==306 ; sys_platform == 'win32'", "pywin32 306 ?"),
            ("numpy==1.26.4 --hash=sha256:aa", "numpy 1.26.4"),
            ("numpy==1.26.4  # pinned", "numpy 1.26.4"),
            ("numpy==1.26.4 \\\n  --hash=sha256:aa", "numpy 1.26.4"),
            ("\u{feff}numpy\r\n", "numpy"),
        ] {
            assert_eq!(read(line), [expected], "{line:?}");
        }
    }

    #[test]
    fn what_names_no_package_is_passed_over() {
        let lines = "# a comment\n\n-r more.txt\n--index-url https://a:b@pypi.example\n-e .\n./own.whl\ncode/own-1.0-py3-none-any.whl\n\
                     own-1.0-py3-none-any.whl\nhttps://example.com/own.whl\ngit+https://example.com/own\nnumpy=1\n[x\n\"\n=1";
        assert_eq!(read(lines), Vec::<String>::new());
    }

    #[test]
    fn a_pinned_version_fits_with_the_same_major_and_minor_number() {
        let fits = |line: &str, have: &str| Requirement::parse(line).unwrap().fits(have);
        for (line, have, expected) in [
            ("a==1.5.2", "1.5.0", true),
            ("a==1.5.2", "1.6.2", false),
            ("a==1.5", "1.5.2", true),
            ("a==1.5.*", "1.5.9", true),
            ("a==1.*", "1.5.9", true),
            ("a===2.4.1+cu118", "2.4.0", true),
            ("a>=1.20,<3", "1.26.4", true),
            ("a>=1.20,<3", "3.0", false),
            ("a~=1.5.2", "1.5.3", true),
            ("a~=1.5.2", "1.6.0", false),
            ("a~=1.5", "1.9", true),
            ("a!=1.5.2", "1.5.2", false),
            ("a!=1.5.*", "1.5.9", false),
            ("a>1.5", "1.5", false),
            ("a<=1.5", "1.5.1", false),
            ("a", "9", true),
            ("a==1.5", "*", true),
            ("a==nightly", "1", true),
        ] {
            assert_eq!(fits(line, have), expected, "{line} with {have}");
        }
    }

    #[test]
    fn what_is_beyond_the_bounds_is_an_error_sentence() {
        for (bytes, word) in [
            (vec![b'a'; Requirements::BYTES_MAX + 1], "256 KiB"),
            (vec![0xff, 0xfe, b'a'], "UTF-8"),
            (b"a\n".repeat(REQUIREMENTS_MAX + 1), "2,000"),
        ] {
            let error = Requirements::parse(&bytes).unwrap_err().to_string();
            assert!(error.starts_with("`requirements.txt` ") && error.contains(word), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(text in "[ a-zA-Z0-9._\\[\\]();=<>!~@#,*+é\\\\\n-]{0,200}", have in "[0-9a-z.*!+é]{0,20}") {
            for requirement in Requirements::parse(text.as_bytes()).unwrap().0 {
                requirement.fits(&have);
                prop_assert_eq!(normalised(&requirement.name), requirement.name.clone());
            }
        }
    }
}
