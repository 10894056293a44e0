//! `CreateTable`: a validated command for the control plane.

use super::body::{self, Anything, Integer, Text, body};
use super::constraint::Constraints;
use super::table_name;
use super::unsupported;
use crate::error::ApiError;
use crate::table::{
    AttributeDefinition, Billing, BillingMode, KeyAttribute, KeySchema, KeyType, NewTable,
    ProvisionedThroughput,
};

/// Most tags that a table may have.
const MAX_TAGS: usize = 50;

/// What a request may ask for at most, per second.
const MAX_THROUGHPUT: i64 = 1_000_000_000_000;

body! {
    struct Body<'a> {
        table_name: Text<'a> = "TableName",
        key_schema: Vec<KeyElement<'a>> = "KeySchema",
        attribute_definitions: Vec<Definition<'a>> = "AttributeDefinitions",
        billing_mode: Text<'a> = "BillingMode",
        provisioned_throughput: Throughput = "ProvisionedThroughput",
        on_demand_throughput: OnDemand = "OnDemandThroughput",
        table_class: Text<'a> = "TableClass",
        tags: Vec<Tag<'a>> = "Tags",
        deletion_protection_enabled: bool = "DeletionProtectionEnabled",
        local_secondary_indexes: Vec<Anything> = "LocalSecondaryIndexes",
        global_secondary_indexes: Vec<Anything> = "GlobalSecondaryIndexes",
        vector_indexes: Vec<Anything> = "VectorIndexes",
        stream_specification: StreamSpecification = "StreamSpecification",
        sse_specification: SseSpecification = "SSESpecification",
        resource_policy: Anything = "ResourcePolicy",
        warm_throughput: Anything = "WarmThroughput",
    }
}

body! {
    struct KeyElement<'a> {
        attribute_name: Text<'a> = "AttributeName",
        key_type: Text<'a> = "KeyType",
    }
}

body! {
    struct Definition<'a> {
        attribute_name: Text<'a> = "AttributeName",
        attribute_type: Text<'a> = "AttributeType",
    }
}

body! {
    /// `ProvisionedThroughput`.
    pub(super) struct Throughput {
        read_capacity_units: Integer = "ReadCapacityUnits",
        write_capacity_units: Integer = "WriteCapacityUnits",
    }
}

body! {
    /// `OnDemandThroughput`.
    pub(super) struct OnDemand {
        max_read_request_units: Integer = "MaxReadRequestUnits",
        max_write_request_units: Integer = "MaxWriteRequestUnits",
    }
}

body! {
    struct Tag<'a> {
        key: Text<'a> = "Key",
        value: Text<'a> = "Value",
    }
}

body! {
    /// `StreamSpecification`: only its absence is supported.
    pub(super) struct StreamSpecification {
        stream_enabled: bool = "StreamEnabled",
    }
}

body! {
    /// `SSESpecification`: only the default (a key that the service owns) is supported.
    pub(super) struct SseSpecification {
        enabled: bool = "Enabled",
    }
}

/// Decodes and validates a `CreateTable`.
///
/// # Errors
/// As [`super::decode`].
pub(super) fn decode(bytes: &[u8]) -> Result<NewTable, ApiError> {
    let (body, _): (Body<'_>, _) = body::read(bytes)?;
    let name = body.table_name.as_deref().ok_or_else(|| {
        ApiError::validation("The parameter 'TableName' is required but was not present in the request")
    })?;
    let mut constraints = Constraints::default();
    table_name::check_strictly(name, "tableName", &mut constraints);
    constraints.finish()?;

    let mut constraints = Constraints::default();
    let mode = billing_mode(body.billing_mode.as_deref(), &mut constraints);
    let table_class = table_class(body.table_class.as_deref(), &mut constraints);
    if let Some(throughput) = &body.provisioned_throughput {
        throughput.check(&mut constraints);
    }
    check_key_schema(body.key_schema.as_deref(), &mut constraints);
    check_definitions(body.attribute_definitions.as_deref(), &mut constraints);
    check_tags(body.tags.as_deref(), &mut constraints);
    constraints.finish()?;

    body.refuse_unsupported()?;
    let billing = billing(mode, body.provisioned_throughput.as_ref(), body.on_demand_throughput.as_ref())?;
    let definitions = definitions(body.attribute_definitions.as_deref().unwrap_or_default());
    let keys = keys(body.key_schema.as_deref().unwrap_or_default(), &definitions)?;
    Ok(NewTable {
        name: name.to_owned(),
        keys,
        attribute_definitions: definitions,
        billing,
        deletion_protection: body.deletion_protection_enabled.unwrap_or(false),
        table_class,
        tags: tags(body.tags)?,
    })
}

impl Body<'_> {
    fn refuse_unsupported(&self) -> Result<(), ApiError> {
        unsupported::refuse_if(
            self.local_secondary_indexes.as_ref().is_some_and(|list| !list.is_empty()),
            "LocalSecondaryIndexes",
        )?;
        unsupported::refuse_if(
            self.global_secondary_indexes.as_ref().is_some_and(|list| !list.is_empty()),
            "GlobalSecondaryIndexes",
        )?;
        for (list, member) in [
            (&self.local_secondary_indexes, "LocalSecondaryIndexes"),
            (&self.global_secondary_indexes, "GlobalSecondaryIndexes"),
            (&self.vector_indexes, "VectorIndexes"),
        ] {
            if list.as_ref().is_some_and(Vec::is_empty) {
                return Err(ApiError::validation(format!(
                    "One or more parameter values were invalid: List of {member} is empty"
                )));
            }
        }
        unsupported::refuse_if(self.vector_indexes.is_some(), "VectorIndexes")?;
        unsupported::refuse_if(
            self.stream_specification.as_ref().is_some_and(|stream| stream.stream_enabled == Some(true)),
            "StreamSpecification",
        )?;
        unsupported::refuse_if(
            self.sse_specification.as_ref().is_some_and(|sse| sse.enabled == Some(true)),
            "SSESpecification",
        )?;
        unsupported::refuse_if(self.resource_policy.is_some(), "ResourcePolicy")?;
        unsupported::refuse_if(self.warm_throughput.is_some(), "WarmThroughput")
    }
}

impl Throughput {
    /// Adds what is wrong with it.
    pub(super) fn check(&self, constraints: &mut Constraints) {
        for (value, member) in [
            (self.write_capacity_units, "writeCapacityUnits"),
            (self.read_capacity_units, "readCapacityUnits"),
        ] {
            let path = format!("provisionedThroughput.{member}");
            match value {
                None => constraints.missing(path),
                Some(Integer(value)) => constraints.at_least(value, path, 1),
            }
        }
    }

    /// As the catalog keeps it.
    ///
    /// # Errors
    /// `ValidationException` past DynamoDB's bound.
    pub(super) fn value(&self) -> Result<ProvisionedThroughput, ApiError> {
        let unit = |value: Option<Integer>, member: &str| {
            let Integer(value) = value.unwrap_or(Integer(0));
            if value > MAX_THROUGHPUT {
                return Err(ApiError::validation(format!(
                    "Given value {value} for {member} is out of bounds"
                )));
            }
            Ok(u64::try_from(value).unwrap_or(0))
        };
        Ok(ProvisionedThroughput {
            read: unit(self.read_capacity_units, "ReadCapacityUnits")?,
            write: unit(self.write_capacity_units, "WriteCapacityUnits")?,
            ..ProvisionedThroughput::default()
        })
    }
}

impl OnDemand {
    /// Whether it sets anything.
    pub(super) const fn is_empty(&self) -> bool {
        self.max_read_request_units.is_none() && self.max_write_request_units.is_none()
    }

    /// Which member comes first among those it sets.
    pub(super) const fn first_member(&self) -> &'static str {
        if self.max_read_request_units.is_some() { "MaxReadRequestUnits" } else { "MaxWriteRequestUnits" }
    }

    /// The ceilings. Only `UpdateTable` may give −1, which takes a ceiling away.
    ///
    /// # Errors
    /// `ValidationException` for a ceiling out of range.
    pub(super) fn value(&self, may_remove: bool) -> Result<(Option<u64>, Option<u64>), ApiError> {
        let ceiling = |value: Option<Integer>, member: &str| match value {
            None => Ok(None),
            Some(Integer(-1)) if may_remove => Ok(None),
            Some(Integer(value)) if value >= 1 => Ok(u64::try_from(value).ok()),
            Some(_) => Err(ApiError::validation(format!(
                "One or more parameter values were invalid: Requested {member} for OnDemandThroughput \
                 for table is outside of valid range"
            ))),
        };
        Ok((
            ceiling(self.max_read_request_units, "MaxReadRequestUnits")?,
            ceiling(self.max_write_request_units, "MaxWriteRequestUnits")?,
        ))
    }
}

/// `BillingMode`, when given.
pub(super) fn billing_mode(given: Option<&str>, constraints: &mut Constraints) -> Option<BillingMode> {
    constraints.choice(
        given,
        "billingMode",
        &[("PROVISIONED", BillingMode::Provisioned), ("PAY_PER_REQUEST", BillingMode::PayPerRequest)],
    )
}

/// `TableClass`, when given.
pub(super) fn table_class(given: Option<&str>, constraints: &mut Constraints) -> Option<String> {
    constraints
        .choice(
            given,
            "tableClass",
            &[("STANDARD", "STANDARD"), ("STANDARD_INFREQUENT_ACCESS", "STANDARD_INFREQUENT_ACCESS")],
        )
        .map(str::to_owned)
}

fn billing(
    mode: Option<BillingMode>,
    provisioned: Option<&Throughput>,
    on_demand: Option<&OnDemand>,
) -> Result<Billing, ApiError> {
    let on_demand = on_demand.filter(|ceilings| !ceilings.is_empty());
    match (mode.unwrap_or(BillingMode::Provisioned), provisioned) {
        (BillingMode::PayPerRequest, Some(_)) => Err(ApiError::validation(
            "One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits \
             can be specified when BillingMode is PAY_PER_REQUEST",
        )),
        (BillingMode::PayPerRequest, None) => {
            let (max_read, max_write) =
                on_demand.map_or(Ok((None, None)), |ceilings| ceilings.value(false))?;
            Ok(Billing::OnDemand { max_read, max_write, since_ms: 0 })
        }
        (BillingMode::Provisioned, None) => Err(ApiError::validation(
            "One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must \
             both be specified when BillingMode is PROVISIONED",
        )),
        (BillingMode::Provisioned, Some(throughput)) => {
            let throughput = throughput.value()?;
            if let Some(ceilings) = on_demand {
                return Err(ApiError::validation(format!(
                    "One or more parameter values were invalid: {} for OnDemandThroughput cannot be \
                     specified when table BillingMode is PROVISIONED.",
                    ceilings.first_member()
                )));
            }
            Ok(Billing::Provisioned(throughput))
        }
    }
}

fn check_key_schema(elements: Option<&[KeyElement<'_>]>, constraints: &mut Constraints) {
    let Some(elements) = elements else {
        constraints.missing("keySchema");
        return;
    };
    if elements.is_empty() {
        constraints.broken("[]", "keySchema", "have length greater than or equal to 1");
    }
    if elements.len() > 2 {
        let shown: Vec<String> = elements
            .iter()
            .map(|element| {
                format!(
                    "KeySchemaElement(attributeName={}, keyType={})",
                    element.attribute_name.as_deref().unwrap_or_default(),
                    element.key_type.as_deref().unwrap_or_default()
                )
            })
            .collect();
        constraints.broken(
            format_args!("[{}]", shown.join(", ")),
            "keySchema",
            "have length less than or equal to 2",
        );
    }
    for (index, element) in elements.iter().enumerate() {
        let path = format!("keySchema.{}.member", index + 1);
        check_attribute_name(element.attribute_name.as_deref(), &path, constraints);
        if element.key_type.is_none() {
            constraints.missing(format_args!("{path}.keyType"));
        }
        constraints.choice(
            element.key_type.as_deref(),
            format_args!("{path}.keyType"),
            &[("HASH", ()), ("RANGE", ())],
        );
    }
}

fn check_attribute_name(name: Option<&str>, path: &str, constraints: &mut Constraints) {
    let path = format!("{path}.attributeName");
    match name {
        None => constraints.missing(path),
        Some("") => constraints.broken("", path, "have length greater than or equal to 1"),
        Some(long) if long.len() > 255 => {
            constraints.broken(long, path, "have length less than or equal to 255");
        }
        Some(_) => {}
    }
}

fn check_definitions(definitions: Option<&[Definition<'_>]>, constraints: &mut Constraints) {
    let Some(definitions) = definitions else {
        constraints.missing("attributeDefinitions");
        return;
    };
    for (index, definition) in definitions.iter().enumerate() {
        let path = format!("attributeDefinitions.{}.member", index + 1);
        check_attribute_name(definition.attribute_name.as_deref(), &path, constraints);
        if definition.attribute_type.is_none() {
            constraints.missing(format_args!("{path}.attributeType"));
        }
        constraints.choice(
            definition.attribute_type.as_deref(),
            format_args!("{path}.attributeType"),
            &[("B", ()), ("N", ()), ("S", ())],
        );
    }
}

fn check_tags(tags: Option<&[Tag<'_>]>, constraints: &mut Constraints) {
    for (index, tag) in tags.unwrap_or_default().iter().enumerate() {
        let path = format!("tags.{}.member", index + 1);
        match tag.key.as_deref() {
            None => constraints.missing(format_args!("{path}.key")),
            Some("") => {
                constraints.broken("", format_args!("{path}.key"), "have length greater than or equal to 1");
            }
            Some(key) if key.chars().count() > 128 => {
                constraints.broken(key, format_args!("{path}.key"), "have length less than or equal to 128");
            }
            Some(_) => {}
        }
        match tag.value.as_deref() {
            None => constraints.missing(format_args!("{path}.value")),
            Some(value) if value.chars().count() > 256 => constraints.broken(
                value,
                format_args!("{path}.value"),
                "have length less than or equal to 256",
            ),
            Some(_) => {}
        }
    }
}

fn tags(given: Option<Vec<Tag<'_>>>) -> Result<Vec<(String, String)>, ApiError> {
    let tags: Vec<(String, String)> = given
        .unwrap_or_default()
        .into_iter()
        .filter_map(|tag| Some((tag.key?.0.into_owned(), tag.value?.0.into_owned())))
        .collect();
    if tags.len() > MAX_TAGS {
        return Err(ApiError::validation(format!(
            "One or more parameter values were invalid: Too many tags: {} (at most {MAX_TAGS})",
            tags.len()
        )));
    }
    Ok(tags)
}

fn definitions(given: &[Definition<'_>]) -> Vec<AttributeDefinition> {
    given
        .iter()
        .map(|definition| AttributeDefinition {
            name: definition.attribute_name.as_deref().unwrap_or_default().to_owned(),
            kind: match definition.attribute_type.as_deref() {
                Some("N") => KeyType::N,
                Some("B") => KeyType::B,
                _ => KeyType::S,
            },
        })
        .collect()
}

/// The key schema, every attribute of which must be defined, and none besides.
fn keys(elements: &[KeyElement<'_>], definitions: &[AttributeDefinition]) -> Result<KeySchema, ApiError> {
    let names: Vec<&str> =
        elements.iter().map(|element| element.attribute_name.as_deref().unwrap_or_default()).collect();
    let kind = |name: &str| definitions.iter().find(|found| found.name == name).map(|found| found.kind);
    if names.iter().any(|name| kind(name).is_none()) {
        return Err(undefined_key(&names, definitions));
    }
    if elements[0].key_type.as_deref() != Some("HASH") {
        return Err(ApiError::validation(
            "Invalid KeySchema: The first KeySchemaElement is not a HASH key type",
        ));
    }
    if names.len() == 2 && names[0] == names[1] {
        return Err(ApiError::validation(
            "Both the Hash Key and the Range Key element in the KeySchema have the same name",
        ));
    }
    if elements.get(1).is_some_and(|element| element.key_type.as_deref() != Some("RANGE")) {
        return Err(ApiError::validation(
            "Invalid KeySchema: The second KeySchemaElement is not a RANGE key type",
        ));
    }
    if definitions.len() != names.len() {
        return Err(ApiError::validation(
            "One or more parameter values were invalid: Number of attributes in KeySchema does not \
             exactly match number of attributes defined in AttributeDefinitions",
        ));
    }
    let attribute = |name: &str| kind(name).map(|kind| KeyAttribute { name: name.to_owned(), kind });
    Ok(KeySchema {
        partition: attribute(names[0]).expect("every key attribute was found among the definitions"),
        sort: names.get(1).and_then(|name| attribute(name)),
    })
}

fn undefined_key(names: &[&str], definitions: &[AttributeDefinition]) -> ApiError {
    if definitions.len() < names.len() {
        return ApiError::validation("Invalid KeySchema: Some index key attribute have no definition");
    }
    let defined: Vec<&str> = definitions.iter().map(|definition| definition.name.as_str()).collect();
    ApiError::validation(format!(
        "One or more parameter values were invalid: Some index key attributes are not defined in \
         AttributeDefinitions. Keys: [{}], AttributeDefinitions: [{}]",
        names.join(", "),
        defined.join(", ")
    ))
}
