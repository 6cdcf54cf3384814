//! Aligned tables.

use comfy_table::{CellAlignment, Table, presets};

/// A table with a line of titles; the first `left` columns stand on the left, all others on the right.
pub fn table<T: Into<String>>(
    titles: impl IntoIterator<Item = T>,
    left: usize,
    rows: impl IntoIterator<Item = Vec<String>>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(titles.into_iter().map(Into::into).collect::<Vec<String>>());
    for row in rows {
        table.add_row(row);
    }
    for (i, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        column.set_cell_alignment(if i < left { CellAlignment::Left } else { CellAlignment::Right });
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A number in a cell, or a dash where there is none.
pub fn short(value: Option<f64>) -> String {
    value.filter(|v| v.is_finite()).map_or_else(|| "-".into(), |v| format!("{v:.1e}"))
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["a".into(), "1".into()], vec!["bcd".into(), "100".into()]];
        assert_eq!(table(["x", "y"], 1, rows), "x      y\na      1\nbcd  100\n");
    }
}
