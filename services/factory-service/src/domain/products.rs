//! Products: what carries the tags.

use access::{Access, BrandKeys, gtin_number};
use audit_chain::{AuditAction, Details, Effect, Precondition, RedisWrite};
use catalog::{CatalogPage, Product, Record, StoredRecord, keys};
use idempotency::StoredResponse;
use uuid::Uuid;

use crate::domain::error::FactoryError;
use crate::domain::field_patch::FieldPatch;
use crate::domain::identity::Caller;
use crate::domain::input::{FieldError, Gtin, Label, is};
use crate::domain::store::{Store, Written};
use crate::domain::update::Update;

const ID_TAKEN: &str = "the new product's id is taken; try again";
const OVERTAKEN: &str = "other requests changed the product during every attempt; try again";

/// The product to create.
#[derive(Debug)]
pub(crate) struct NewProduct {
    pub(crate) name: Label,
    pub(crate) brand: Label,
    pub(crate) gtin: Option<Gtin>,
}

/// The fields to change.
#[derive(Debug, Clone)]
pub(crate) struct ProductPatch {
    pub(crate) name: Option<Label>,
    pub(crate) brand: Option<Label>,
    pub(crate) gtin: FieldPatch<String>,
}

impl ProductPatch {
    /// Returns whether the patch names no field.
    pub(crate) fn is_empty(&self) -> bool {
        self.name.is_none() && self.brand.is_none() && self.gtin.is_keep()
    }

    /// Returns the patched product, and the changed fields for the audit event.
    fn applied_to(self, product: &Product) -> (Product, Details) {
        let mut changed = product.clone();
        let mut details = Details::new();
        if let Some(name) = self.name.map(Label::into_string).filter(|name| *name != product.name) {
            details.insert("name", name.as_str());
            changed.name = name;
        }
        if let Some(brand) = self.brand.map(Label::into_string).filter(|brand| *brand != product.brand) {
            details.insert("brand", brand.as_str());
            changed.brand = brand;
        }
        if self.gtin.apply_to(&mut changed.gtin) {
            details.insert("gtin", changed.gtin.clone());
        }
        (changed, details)
    }
}

/// The products of all tenants.
pub(crate) struct Products {
    store: Store,
    access: Access,
}

impl Products {
    pub(crate) fn new(store: Store, access: Access) -> Self {
        Self { store, access }
    }

    /// Creates a product. `answer` builds the response, which is stored together with the product if the
    /// request has an idempotency key.
    ///
    /// # Errors
    /// [`FactoryError::Field`] if the brand or the GTIN belongs to another tenant.
    pub(crate) async fn create(
        &self,
        caller: &Caller,
        new: NewProduct,
        answer: impl Fn(Product) -> StoredResponse,
    ) -> Result<StoredResponse, FactoryError> {
        let (now, id) = self.store.time_and_id(caller, "product");
        let product = Product {
            id,
            tenant: caller.tenant().as_str().to_owned(),
            name: new.name.into_string(),
            brand: new.brand.into_string(),
            gtin: new.gtin.map(Gtin::into_string),
            created_at: now,
            updated_at: now,
        };
        let mut details =
            Details::new().with("name", product.name.as_str()).with("brand", product.brand.as_str());
        if let Some(gtin) = &product.gtin {
            details.insert("gtin", gtin.as_str());
        }
        let key = keys::product(&id);
        let index = keys::products_of(caller.tenant().as_str());
        let effect = Effect {
            checks: vec![Precondition::Absent { key: key.clone().into() }],
            writes: vec![
                RedisWrite::Set { key: key.into(), value: product.encode(1) },
                RedisWrite::SortedAdd { key: index.into(), score: 0, member: id.to_string().into() },
            ],
        };
        let answer = answer(product.clone());
        self.store
            .update(OVERTAKEN, || async {
                let effect = effect.clone().check(self.unclaimed(caller, &product).await?);
                let event = caller.event(AuditAction::ProductCreated, resource(&id), details.clone());
                match self.store.write_once(caller, event, effect, &answer).await? {
                    Written::Overtaken { check: 0 } => Err(FactoryError::Conflict(ID_TAKEN)),
                    written => Ok(written.done(())),
                }
            })
            .await?;
        Ok(answer)
    }

    /// Checks that brand and GTIN belong to no other tenant. The returned precondition holds as long as no
    /// tenant's claims have changed.
    async fn unclaimed(&self, caller: &Caller, product: &Product) -> Result<Precondition, FactoryError> {
        let brand = BrandKeys::of(&product.brand);
        let range = product.gtin.as_deref().and_then(gtin_number).map(|number| number..=number);
        let (brands, ranges) = (std::slice::from_ref(&brand), range.as_slice());
        let claims = self.store.read(self.access.claims(brands, ranges)).await?;
        let own = caller.tenant();
        if claims.brand_of_another(&brand, own).is_some() {
            let held = format!(
                "{}, which is, or looks like, a verified brand of another tenant",
                is(&product.brand)
            );
            return Err(FieldError::unacceptable(
                "brand",
                held,
                "a brand of this tenant's own",
                "\"Northern\"",
            )
            .into());
        }
        if range.is_some_and(|range| claims.gtin_of_another(&range, own).is_some()) {
            let gtin = product.gtin.as_deref().unwrap_or_default();
            let held = format!("{}, which falls under a GTIN company prefix of another tenant", is(gtin));
            let takes = "a GTIN under a prefix of this tenant's own";
            return Err(FieldError::unacceptable("gtin", held, takes, "\"4006381333931\"").into());
        }
        Ok(claims.guard())
    }

    pub(crate) async fn show(&self, caller: &Caller, id: &Uuid) -> Result<Product, FactoryError> {
        Ok(self.stored(caller, id).await?.value)
    }

    pub(crate) async fn list(
        &self,
        caller: &Caller,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<CatalogPage<Product>, FactoryError> {
        self.store.read(self.store.catalog().products(caller.tenant().as_str(), after, limit)).await
    }

    /// Changes a product if `is_wanted` accepts the version that is changed. A patch that changes nothing
    /// appends no event.
    ///
    /// # Errors
    /// [`FactoryError::OtherVersion`] if `is_wanted` rejects the current version.
    pub(crate) async fn change(
        &self,
        caller: &Caller,
        id: &Uuid,
        patch: ProductPatch,
        is_wanted: impl Fn(&Product) -> bool,
    ) -> Result<Product, FactoryError> {
        self.store
            .update(OVERTAKEN, || async {
                let StoredRecord { value, revision, bytes } = self.stored(caller, id).await?;
                if !is_wanted(&value) {
                    return Err(FactoryError::OtherVersion);
                }
                let (mut changed, details) = patch.clone().applied_to(&value);
                if changed == value {
                    return Ok(Update::Done(value));
                }
                changed.updated_at = self.store.now();
                let key = keys::product(id);
                let effect = Effect {
                    checks: vec![
                        Precondition::Equals { key: key.clone().into(), value: bytes },
                        self.unclaimed(caller, &changed).await?,
                    ],
                    writes: vec![RedisWrite::Set {
                        key: key.into(),
                        value: changed.encode(revision.wrapping_add(1)),
                    }],
                };
                let event = caller.event(AuditAction::ProductUpdated, resource(id), details);
                Ok(self.store.write(event, effect).await?.done(changed))
            })
            .await
    }

    async fn stored(&self, caller: &Caller, id: &Uuid) -> Result<StoredRecord<Product>, FactoryError> {
        let found = self.store.read(self.store.catalog().product_of(id, caller.tenant().as_str())).await?;
        found.filter(|product| caller.owns(&product.value.tenant)).ok_or(FactoryError::NoSuch("product"))
    }
}

fn resource(id: &Uuid) -> String {
    format!("product/{id}")
}
