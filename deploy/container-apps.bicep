// The code location, the daemon and the web server as Azure Container Apps, with PostgreSQL and without a secret.
// docs/cloud.md says what to do first:
//   az deployment group create --resource-group candles --template-file deploy/container-apps.bicep --parameters ...
param location string = resourceGroup().location

@description('The name of a user-assigned identity in this resource group, and its principalId')
param identityName string
param principalId string

@description('The image with dagster-entra.yaml, such as candles:1')
param image string

@description('The name of a container registry in this resource group')
param registryName string

@description('The name of the storage account of the lake, in this resource group')
param storageName string

@description('The name of the new PostgreSQL server: no other server of Azure has it')
param postgresName string

param series string = 'BTC-USD:15m,ETH-USD:15m'

@description('The first day to collect')
param start string

var blobContributor = 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
var registryPull = '7f951dda-4ed3-4680-a7ca-43fe172d538d'

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' existing = {
  name: identityName
}

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' existing = {
  name: storageName
}

resource registry 'Microsoft.ContainerRegistry/registries@2023-07-01' existing = {
  name: registryName
}

resource writesBlobs 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(storage.id, identity.id, blobContributor)
  scope: storage
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobContributor)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

resource pullsImages 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(registry.id, identity.id, registryPull)
  scope: registry
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', registryPull)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

resource postgres 'Microsoft.DBforPostgreSQL/flexibleServers@2024-08-01' = {
  name: postgresName
  location: location
  sku: {
    name: 'Standard_B1ms'
    tier: 'Burstable'
  }
  properties: {
    version: '16'
    storage: {
      storageSizeGB: 32
    }
    // Nobody can sign in with a password.
    authConfig: {
      activeDirectoryAuth: 'Enabled'
      passwordAuth: 'Disabled'
      tenantId: tenant().tenantId
    }
  }
}

// One after the other, because the server makes one change at a time.
resource database 'Microsoft.DBforPostgreSQL/flexibleServers/databases@2024-08-01' = {
  parent: postgres
  name: 'dagster'
}

// A host that died in a transaction would else hold its locks until TCP gives up, for two hours.
resource timeout 'Microsoft.DBforPostgreSQL/flexibleServers/configurations@2024-08-01' = {
  parent: postgres
  name: 'idle_in_transaction_session_timeout'
  properties: {
    value: '60000'
    source: 'user-override'
  }
  dependsOn: [database]
}

// Anything in Azure may connect, and then needs a token. A private network would be stricter.
resource fromAzure 'Microsoft.DBforPostgreSQL/flexibleServers/firewallRules@2024-08-01' = {
  parent: postgres
  name: 'azure'
  properties: {
    startIpAddress: '0.0.0.0'
    endIpAddress: '0.0.0.0'
  }
  dependsOn: [timeout]
}

resource administrator 'Microsoft.DBforPostgreSQL/flexibleServers/administrators@2024-08-01' = {
  parent: postgres
  name: principalId
  properties: {
    principalName: identity.name
    principalType: 'ServicePrincipal'
    tenantId: tenant().tenantId
  }
  dependsOn: [fromAzure]
}

resource appEnvironment 'Microsoft.App/managedEnvironments@2024-03-01' = {
  name: 'candles'
  location: location
  properties: {
    workloadProfiles: [
      {
        name: 'Consumption'
        workloadProfileType: 'Consumption'
      }
    ]
  }
}

// Nothing is public: an ingress that is not external lets in the apps of this environment alone.
var apps = [
  {
    name: 'code'
    cpu: '2.0'
    memory: '4Gi'
    command: ['dagster', 'api', 'grpc', '--module-name', 'coinbase_assets.definitions', '--host', '0.0.0.0', '--port', '4000']
    ingress: {
      external: false
      transport: 'tcp'
      targetPort: 4000
      exposedPort: 4000
    }
  }
  {
    name: 'daemon'
    cpu: '0.5'
    memory: '1Gi'
    command: ['python', '-m', 'coinbase_assets.dagster_instance.daemon', 'run', '--workspace', 'workspace.yaml']
    ingress: null
  }
  {
    name: 'web'
    cpu: '0.5'
    memory: '1Gi'
    command: ['python', '-m', 'coinbase_assets.web.server', '--workspace', 'workspace.yaml', '--port', '3000', '--host', '0.0.0.0']
    ingress: {
      external: false
      transport: 'http'
      targetPort: 3000
    }
  }
]

resource app 'Microsoft.App/containerApps@2024-03-01' = [
  for each in apps: {
    name: each.name
    location: location
    identity: {
      type: 'UserAssigned'
      userAssignedIdentities: {
        '${identity.id}': {}
      }
    }
    properties: {
      environmentId: appEnvironment.id
      configuration: {
        activeRevisionsMode: 'Single'
        ingress: each.ingress
        registries: [
          {
            server: registry.properties.loginServer
            identity: identity.id
          }
        ]
      }
      template: {
        // Exactly one of each. Runs are processes of the code location's replica.
        scale: {
          minReplicas: 1
          maxReplicas: 1
        }
        containers: [
          {
            name: each.name
            image: '${registry.properties.loginServer}/${image}'
            command: each.command
            resources: {
              cpu: json(each.cpu)
              memory: each.memory
            }
            env: [
              // With it, Azure's libraries take this identity.
              { name: 'AZURE_CLIENT_ID', value: identity.properties.clientId }
              { name: 'AZURE_STORAGE_ACCOUNT_URL', value: 'https://${storage.name}.blob.${environment().suffixes.storage}' }
              { name: 'COINBASE_SERIES', value: series }
              { name: 'COINBASE_START', value: start }
              { name: 'COINBASE_WEB_HOSTS', value: 'web,web.internal.${appEnvironment.properties.defaultDomain}' }
              { name: 'DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR', value: '1' }
              { name: 'DAGSTER_POSTGRES_HOST', value: postgres.properties.fullyQualifiedDomainName }
              { name: 'DAGSTER_POSTGRES_USER', value: identity.name }
            ]
          }
        ]
      }
    }
    dependsOn: [administrator, writesBlobs, pullsImages]
  }
]
