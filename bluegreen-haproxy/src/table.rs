//! [`Table`]: the tables that HAProxy prints, by the names of their columns.

/// Rows whose columns have names.
pub(crate) struct Table {
    names: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// The answer to `show servers state`: words, with the format's version on a line before them.
    pub(crate) fn of_states(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("1\n")?;
        Self::read(rest, |line| line.split(' ').map(str::to_owned).collect())
    }

    /// The answer to `show stat`: values with commas.
    pub(crate) fn of_stat(text: &str) -> Option<Self> {
        Self::read(text, split_csv)
    }

    fn read(text: &str, split: impl Fn(&str) -> Vec<String>) -> Option<Self> {
        let (head, rest) = text.split_once('\n').unwrap_or((text, ""));
        let names = split(head.strip_prefix("# ")?);
        Some(Self { names, rows: rest.lines().filter(|line| !line.is_empty()).map(split).collect() })
    }

    /// The values of each row under these names; `None` where a column or a value is missing.
    pub(crate) fn columns<const COUNT: usize>(&self, names: [&str; COUNT]) -> Option<Vec<[&str; COUNT]>> {
        let mut places = [0; COUNT];
        for (place, name) in places.iter_mut().zip(names) {
            *place = self.names.iter().position(|known| known == name)?;
        }
        let value = |row: &'_ [String]| places.iter().all(|place| *place < row.len());
        let rows = self.rows.iter().map(|row| value(row).then(|| places.map(|place| row[place].as_str())));
        rows.collect()
    }
}

/// Values may stand in quotes, with each quote in them doubled.
fn split_csv(line: &str) -> Vec<String> {
    let (mut values, mut value, mut quoted) = (Vec::new(), String::new(), false);
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => value.extend(letters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => values.push(std::mem::take(&mut value)),
            _ => value.push(letter),
        }
    }
    values.push(value);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_their_names() {
        let table = Table::of_states("1\n# be_id be_name srv_name\n3 shop blue1\n3 shop green1").unwrap();
        assert_eq!(table.columns(["srv_name", "be_name"]), Some(vec![["blue1", "shop"], ["green1", "shop"]]));
        assert_eq!(table.columns(["weight"]), None);
        let short = Table::of_states("1\n# a b\n1").unwrap();
        assert_eq!((short.columns(["a"]), short.columns(["b"])), (Some(vec![["1"]]), None));
        for garbage in ["", "2\n# a\n1", "1\na\n1", "1\n"] {
            assert!(Table::of_states(garbage).is_none(), "{garbage:?}");
        }
    }

    #[test]
    fn quoted_values_may_have_commas_and_quotes() {
        let table = Table::of_stat("# svname,last_chk,addr,\nblue1,\"a, \"\"b\"\" c\",127.0.0.1:1,\n").unwrap();
        assert_eq!(table.columns(["last_chk", "addr"]), Some(vec![["a, \"b\" c", "127.0.0.1:1"]]));
    }
}
