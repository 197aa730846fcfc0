//! Quantities of Kubernetes: processor time in thousandths of a core, memory in bytes.

use std::fmt;
use std::iter::Sum;

use serde::Deserialize;

/// Thousandths of a core.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Cpu(pub u64);

/// Bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Memory(pub u64);

/// The suffixes of memory and how many bytes one is.
const UNITS: [(&str, u64); 6] =
    [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000)];

impl TryFrom<String> for Cpu {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parsed = match text.strip_suffix('m') {
            Some(thousandths) => thousandths.parse().ok(),
            None => text.parse::<u64>().ok().and_then(|cores| cores.checked_mul(1000)),
        };
        parsed.map(Self).ok_or_else(|| format!("`{text}` is no processor time such as `250m` or `2`"))
    }
}

impl TryFrom<String> for Memory {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let unit = UNITS.iter().find_map(|(suffix, bytes)| Some((text.strip_suffix(suffix)?, *bytes)));
        let (number, bytes) = unit.unwrap_or((&text, 1));
        let parsed = number.parse::<u64>().ok().and_then(|number| number.checked_mul(bytes));
        parsed.map(Self).ok_or_else(|| format!("`{text}` is no amount of memory such as `128Mi`"))
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 1000 {
            0 => write!(out, "{}", self.0 / 1000),
            _ => write!(out, "{}m", self.0),
        }
    }
}

impl fmt::Display for Memory {
    /// In whole MiB: nothing here is smaller.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % (1 << 30) {
            0 => write!(out, "{}Gi", self.0 >> 30),
            _ => write!(out, "{}Mi", self.0.div_ceil(1 << 20)),
        }
    }
}

impl Sum for Cpu {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        Self(all.map(|cpu| cpu.0).sum())
    }
}

impl Sum for Memory {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        Self(all.map(|memory| memory.0).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_and_written_as_kubernetes_does() {
        for (text, thousandths, shown) in [("250m", 250, "250m"), ("2", 2000, "2"), ("1000m", 1000, "1")] {
            let cpu = Cpu::try_from(text.to_owned()).unwrap();
            assert_eq!((cpu.0, cpu.to_string().as_str()), (thousandths, shown), "{text}");
        }
        for (text, bytes, shown) in [
            ("128Mi", 128 << 20, "128Mi"),
            ("2Gi", 2 << 30, "2Gi"),
            ("1500Mi", 1500 << 20, "1500Mi"),
            ("1M", 1_000_000, "1Mi"),
        ] {
            let memory = Memory::try_from(text.to_owned()).unwrap();
            assert_eq!((memory.0, memory.to_string().as_str()), (bytes, shown), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused_and_named() {
        for text in ["", "m", "0.5", "-1", "10Xi", "99999999999999999999Gi", "18446744073709551615Gi"] {
            assert!(Memory::try_from(text.to_owned()).unwrap_err().contains(text), "{text}");
            assert!(Cpu::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
