"""Settings that name a storage account, each with another kind of secret."""

ACCOUNT = "http://127.0.0.1:10000/devstoreaccount1"
SECRETS = {"key": "a2V5IHNlY3JldA==", "sas": "c2FzIHNlY3JldA==", "string": "c3RyaW5nIHNlY3JldA=="}
STORAGE = {
    "key": {
        "AZURE_STORAGE_ACCOUNT_URL": ACCOUNT,
        "AZURE_STORAGE_KEY": SECRETS["key"],
        "COINBASE_BUDGET_URL": f"redis://:{SECRETS['key']}@127.0.0.1",
    },
    "sas": {
        "AZURE_STORAGE_ACCOUNT_URL": ACCOUNT,
        "AZURE_STORAGE_SAS_TOKEN": f"sv=2024-01-01&sig={SECRETS['sas']}",
    },
    "string": {
        "AZURE_STORAGE_CONNECTION_STRING": (
            f"AccountName=a;AccountKey={SECRETS['string']};BlobEndpoint={ACCOUNT};"
        )
    },
}
