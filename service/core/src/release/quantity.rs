//! Amounts of CPU, memory and devices, as Kubernetes writes and checks them.

use super::{Resources, Violations};

impl Resources {
    pub(super) fn check(&self, at: &str, found: &mut Violations) {
        for (side, quantities) in [("requests", &self.requests), ("limits", &self.limits)] {
            let ok = quantities.iter().all(|(name, text)| amount(text).is_some() && is_resource_name(name));
            found.require(
                ok,
                &format!("{at}.{side}"),
                "must hold resource names with quantities such as `500m` or `1Gi`",
            );
        }
        for (name, request) in &self.requests {
            let limit = self.limits.get(name);
            let (least, most) = (amount(request), limit.and_then(|limit| amount(limit)));
            let (at, name) = (format!("{at}.requests"), crate::names::shown(name));
            if name.contains('/') {
                let rule = format!("must have the same `{name}` as `limits`: Kubernetes lends no device twice");
                found.require(least == most, &at, &rule);
            } else if let (Some(least), Some(most)) = (least, most) {
                found.require(least <= most, &at, &format!("must not have more `{name}` than `limits`"));
            }
        }
    }
}

fn is_resource_name(text: &str) -> bool {
    (1..=253).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-./_".contains(&b))
}

/// Whether Kubernetes takes it as a quantity.
pub(crate) fn is_quantity(text: &str) -> bool {
    amount(text).is_some()
}

/// Whether two texts are quantities and mean the same amount.
pub(crate) fn same_quantity(one: &str, other: &str) -> bool {
    let (one, other) = (amount(one), amount(other));
    one.is_some() && one == other
}

/// The amount that a quantity means (`apimachinery/pkg/api/resource/quantity.go`): a decimal number with a suffix or an exponent;
/// no sign, because no resource can be negative.
fn amount(text: &str) -> Option<f64> {
    const DECIMAL: [(&str, i8); 10] =
        [("", 0), ("n", -9), ("u", -6), ("m", -3), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
    const BINARY: [(&str, i32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits_end);
    if number.len() > 20 {
        return None;
    }
    if let Some((_, power)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return number.parse::<f64>().ok().map(|number| number * 2_f64.powi(*power));
    }
    let written = || suffix.strip_prefix(['e', 'E'])?.parse::<i8>().ok();
    let exponent = DECIMAL.iter().find(|(name, _)| *name == suffix).map(|(_, exponent)| *exponent).or_else(written)?;
    // Read in one go, so that `0.3` and `300m` are the same number.
    number.parse::<f64>().ok()?;
    format!("{number}e{exponent}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_is_read_as_the_amount_it_means() {
        for (text, expected) in [
            ("1", 1.0),
            ("0.3", 0.3),
            ("300m", 0.3),
            (".5", 0.5),
            ("1k", 1e3),
            ("3E", 3e18),
            ("1e3", 1e3),
            ("1Ki", 1024.0),
        ] {
            assert_eq!(amount(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn the_same_amount_may_be_written_in_several_ways() {
        assert!(same_quantity("100m", "0.1") && same_quantity("1Gi", "1024Mi") && same_quantity("1", "1000m"));
        assert!(!same_quantity("1G", "1Gi") && !same_quantity("x", "x"));
    }

    #[test]
    fn requests_above_limits_are_refused() {
        let check = |requests: &[(&str, &str)], limits: &[(&str, &str)]| {
            let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let mut found = Violations::default();
            Resources { requests: map(requests), limits: map(limits) }.check("resources", &mut found);
            found.into_vec().into_iter().map(|violation| violation.detail).collect::<Vec<_>>()
        };
        assert_eq!(check(&[("cpu", "1"), ("memory", "1Gi")], &[("cpu", "1000m"), ("memory", "1024Mi")]), [""; 0]);
        assert_eq!(check(&[("cpu", "2")], &[("memory", "1")]), [""; 0], "no limit is no bound");
        assert!(check(&[("cpu", "2")], &[("cpu", "500m")])[0].contains("more `cpu`"));
        assert!(check(&[("memory", "1Gi")], &[("memory", "1G")])[0].contains("more `memory`"));
        assert_eq!(check(&[], &[("nvidia.com/gpu", "1")]), [""; 0]);
        assert_eq!(check(&[("nvidia.com/gpu", "1")], &[("nvidia.com/gpu", "1")]), [""; 0]);
        assert!(check(&[("nvidia.com/gpu", "1")], &[])[0].contains("device"));
    }
}
