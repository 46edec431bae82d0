//! Reads sealed datasets, and nothing that the manifest does not vouch for.

use bytes::Bytes;

use crate::manifest::{Manifest, Role};
use crate::plan::{CONFIG_PATH, TOKENIZER_PATH};
use crate::schema::Layout;
use crate::table::{Scan, Table};
use crate::{Error, ObjectRef, Plan, Result, Row, ShardPlan, Store, metadata};

/// A sealed dataset. Its manifest, plan and model files are verified when it is opened, each table before its first row.
#[derive(Debug, Clone)]
pub struct Reader {
    store: Store,
    manifest: Manifest,
    plan: Plan,
    tokenizer_json: Option<Bytes>,
    config_json: Bytes,
}

impl Reader {
    /// Opens a sealed dataset.
    ///
    /// # Errors
    /// Not sealed; of a newer format or with an unknown flag; a file that was changed or is missing.
    pub fn open(store: &Store) -> Result<Self> {
        let manifest = Manifest::read(store)?;
        let plan = manifest.read_plan(store)?;
        let model_file = |path: &str| {
            plan.files
                .iter()
                .find(|file| file.path == path)
                .map(|file| store.get_verified(file))
        };
        let tokenizer_json = model_file(TOKENIZER_PATH).transpose()?;
        let config_json = model_file(CONFIG_PATH).transpose()?;
        let config_json =
            config_json.ok_or_else(|| Error::Data(format!("{}: plan.json names no config.json", store.url())))?;
        let reader = Self {
            store: store.clone(),
            manifest,
            plan,
            tokenizer_json,
            config_json,
        };
        for shard in &reader.plan.shards {
            reader.table_of(shard)?;
        }
        Ok(reader)
    }

    /// Its plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Its manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where it lies.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The teacher's `tokenizer.json`, where it has one.
    pub fn tokenizer_json(&self) -> Option<&[u8]> {
        self.tokenizer_json.as_deref()
    }

    /// The teacher's `config.json`.
    pub fn config_json(&self) -> &[u8] {
        &self.config_json
    }

    /// The names of the splits, in the order of the plan.
    pub fn splits(&self) -> Vec<&str> {
        self.plan.splits()
    }

    /// The rows of a split in the plan's order, one row group in memory at a time. Each file is hashed, and its metadata
    /// compared with the plan, before its first row comes.
    ///
    /// # Errors
    /// No such split, naming those there are.
    pub fn rows(&self, split: &str) -> Result<Rows> {
        let shards = self.plan.shards.iter().filter(|shard| shard.split == split);
        let tables = shards.map(|shard| Ok((shard.clone(), self.table_of(shard)?.clone())));
        let tables = tables.collect::<Result<Vec<_>>>()?;
        if tables.is_empty() {
            let (url, known) = (self.store.url(), self.splits().join(", "));
            return Err(Error::Input(format!("{url} has no split {split:?}; it has {known}")));
        }
        let (store, plan, layout) = (self.store.clone(), self.plan.clone(), self.plan.spec.layout());
        Ok(Rows {
            store,
            plan,
            layout,
            tables: tables.into_iter(),
            open: None,
        })
    }

    fn table_of(&self, shard: &ShardPlan) -> Result<&ObjectRef> {
        let file = self.manifest.file(&self.store, &self.plan.final_path(shard))?;
        match file.role == Role::Table && file.shard == Some(shard.index) {
            true => Ok(&file.object),
            false => Err(Error::Data(format!(
                "{}: {} is not recorded as the table of shard {}",
                self.store.place(Manifest::PATH),
                file.object.path,
                shard.index
            ))),
        }
    }
}

/// The rows of a split. The first error is the last item.
pub struct Rows {
    store: Store,
    plan: Plan,
    layout: Layout,
    tables: std::vec::IntoIter<(ShardPlan, ObjectRef)>,
    open: Option<Scan<Row>>,
}

impl Rows {
    fn open_next(&self, shard: &ShardPlan, object: &ObjectRef) -> Result<Scan<Row>> {
        let table = Table::open(&self.store, object, &self.layout)?;
        metadata::check(&table, &metadata::of_table(&self.plan, shard))?;
        if table.rows() != shard.examples {
            let (place, rows) = (table.place(), table.rows());
            return Err(Error::Data(format!(
                "{place} has {rows} rows, the plan says {}",
                shard.examples
            )));
        }
        Ok(table.rows_in_order(self.layout.clone()))
    }

    fn stop(&mut self, error: Error) -> Option<Result<Row>> {
        self.tables = Vec::new().into_iter();
        self.open = None;
        Some(Err(error))
    }
}

impl Iterator for Rows {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.open.as_mut().and_then(Iterator::next) {
                Some(Ok(row)) => return Some(Ok(row)),
                Some(Err(error)) => return self.stop(error),
                None => {}
            }
            let (shard, object) = self.tables.next()?;
            match self.open_next(&shard, &object) {
                Ok(scan) => self.open = Some(scan),
                Err(error) => return self.stop(error),
            }
        }
    }
}
