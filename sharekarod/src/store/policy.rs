//! Rules that were added while the daemon ran, in their order, as JSON.

use rusqlite::{Connection, Transaction, params};

/// A rule as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleRow {
    /// What it is called.
    pub name: String,
    /// The rule.
    pub json: String,
}

/// All of them, in their order.
pub fn load(connection: &Connection) -> rusqlite::Result<Vec<RuleRow>> {
    let mut statement = connection.prepare("SELECT name, rule FROM policy ORDER BY place")?;
    statement.query_map([], |row| Ok(RuleRow { name: row.get(0)?, json: row.get(1)? }))?.collect()
}

/// Keeps all of them as they are now.
pub fn save(transaction: &Transaction<'_>, rules: &[RuleRow]) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM policy", [])?;
    let mut insert = transaction.prepare("INSERT INTO policy (place, name, rule) VALUES (?1, ?2, ?3)")?;
    for (place, rule) in (0_i64..).zip(rules) {
        insert.execute(params![place, rule.name, rule.json])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Durability, Store};

    #[tokio::test]
    async fn rules_come_back_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap().store;
        let row = |name: &str| RuleRow { name: name.into(), json: format!("{{\"name\":\"{name}\"}}") };
        let rules = ["z", "a", "m"].map(row).to_vec();

        for kept in [rules.clone(), rules[1..].to_vec()] {
            let wanted = kept.clone();
            store.write(Durability::Durable, move |t| save(t, &kept)).await.unwrap();
            assert_eq!(store.read(load).await.unwrap(), wanted);
        }
    }
}
