package settings

import (
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/cache"
)

// setting is one row of the table that says everything about a setting: its
// name in a Django settings module, the older names that Celery still reads,
// and where its value goes.
type setting struct {
	name  string
	older []string
	set   setter[celeryresults.Settings]
}

type root = celeryresults.Settings

var table = []setting{
	{"CELERY_RESULT_BACKEND", nil, to(func(s *root) *string { return &s.ResultBackend }, backend)},
	{"CELERY_CACHE_BACKEND", nil, to(func(s *root) *string { return &s.CacheBackend }, backend)},
	{"CELERY_CACHE_BACKEND_OPTIONS", nil, to(func(s *root) *map[string]any { return &s.CacheBackendOptions }, options)},
	{"CELERY_RESULT_EXPIRES", []string{"CELERY_TASK_RESULT_EXPIRES"}, toNullable(func(s *root) *time.Duration { return &s.ResultExpires }, expiry)},
	{"CELERY_RESULT_TOMBSTONES", nil, to(func(s *root) *time.Duration { return &s.ResultTombstones }, span)},
	{"CELERY_RESULT_TALLY", nil, to(func(s *root) *bool { return &s.ResultTally }, boolean)},
	{"CELERY_RESULT_REDACT", nil, to(func(s *root) *[]string { return &s.ResultRedact }, list)},
	{"CELERY_RESULT_EXTENDED", nil, to(func(s *root) *bool { return &s.ResultExtended }, boolean)},
	{"CELERY_RESULT_SERIALIZER", nil, to(func(s *root) *string { return &s.ResultSerializer }, word)},
	{"CELERY_RESULT_ACCEPT_CONTENT", []string{"RESULT_ACCEPT_CONTENT"}, to(func(s *root) *[]string { return &s.ResultAcceptContent }, list)},
	{"CELERY_ACCEPT_CONTENT", nil, to(func(s *root) *[]string { return &s.AcceptContent }, list)},
	{"CELERY_RESULT_CACHE_MAX", []string{"CELERY_MAX_CACHED_RESULTS"}, to(func(s *root) *int { return &s.ResultCacheMax }, whole)},
	{"CELERY_RESULT_COMPRESSION", nil, to(func(s *root) *string { return &s.ResultCompression }, word)},
	{"CELERY_RESULT_PERSISTENT", nil, to(func(s *root) **bool { return &s.ResultPersistent }, pointer(boolean))},
	{"CELERY_RESULT_CHORD_RETRY_INTERVAL", nil, to(func(s *root) *time.Duration { return &s.ResultChordRetryInterval }, interval)},
	{"CELERY_RESULT_CHORD_JOIN_TIMEOUT", nil, toNullable(func(s *root) *time.Duration { return &s.ResultChordJoinTimeout }, limit)},
	{"CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS", nil, to(func(s *root) *celeryresults.TransportOptions { return &s.ResultBackendTransportOptions }, transportOptions)},
	{"CELERY_RESULT_BACKEND_ALWAYS_RETRY", nil, to(func(s *root) *bool { return &s.ResultBackendAlwaysRetry }, boolean)},
	{"CELERY_RESULT_BACKEND_MAX_SLEEP_BETWEEN_RETRIES_MS", nil, to(func(s *root) *time.Duration { return &s.ResultBackendMaxSleepBetweenRetry }, milliseconds)},
	{"CELERY_RESULT_BACKEND_BASE_SLEEP_BETWEEN_RETRIES_MS", nil, to(func(s *root) *time.Duration { return &s.ResultBackendBaseSleepBetweenRetry }, milliseconds)},
	{"CELERY_RESULT_BACKEND_MAX_RETRIES", nil, to(func(s *root) *int { return &s.ResultBackendMaxRetries }, retries)},
	{"CELERY_TASK_TRACK_STARTED", []string{"CELERY_TRACK_STARTED"}, to(func(s *root) *bool { return &s.TaskTrackStarted }, boolean)},
	{"CELERY_TASK_IGNORE_RESULT", []string{"CELERY_IGNORE_RESULT"}, to(func(s *root) *bool { return &s.TaskIgnoreResult }, boolean)},
	{"CELERY_TASK_STORE_ERRORS_EVEN_IF_IGNORED", []string{"CELERY_STORE_ERRORS_EVEN_IF_IGNORED"}, to(func(s *root) *bool { return &s.TaskStoreErrorsEvenIfIgnored }, boolean)},
	{"CELERY_TASK_STORE_EAGER_RESULT", []string{"CELERY_STORE_EAGER_RESULT"}, to(func(s *root) *bool { return &s.TaskStoreEagerResult }, boolean)},

	{"CELERY_REDIS_HOST", nil, to(func(s *root) *string { return &s.Redis.Host }, text)},
	{"CELERY_REDIS_PORT", nil, to(func(s *root) *int { return &s.Redis.Port }, whole)},
	{"CELERY_REDIS_DB", nil, to(func(s *root) *int { return &s.Redis.DB }, whole)},
	{"CELERY_REDIS_USERNAME", nil, to(func(s *root) *string { return &s.Redis.Username }, text)},
	{"CELERY_REDIS_PASSWORD", nil, to(func(s *root) *string { return &s.Redis.Password }, text)},
	{"CELERY_REDIS_MAX_CONNECTIONS", nil, to(func(s *root) *int { return &s.Redis.MaxConnections }, count)},
	{"CELERY_REDIS_SOCKET_TIMEOUT", nil, toNullable(func(s *root) *time.Duration { return &s.Redis.SocketTimeout }, limit)},
	{"CELERY_REDIS_SOCKET_CONNECT_TIMEOUT", nil, toNullable(func(s *root) *time.Duration { return &s.Redis.ConnectTimeout }, limit)},
	{"CELERY_REDIS_RETRY_ON_TIMEOUT", nil, to(func(s *root) *bool { return &s.Redis.RetryOnTimeout }, boolean)},
	{"CELERY_REDIS_SOCKET_KEEPALIVE", nil, to(func(s *root) *bool { return &s.Redis.SocketKeepalive }, boolean)},
	{"CELERY_REDIS_BACKEND_USE_SSL", nil, to(func(s *root) *map[string]any { return &s.Redis.UseSSL }, tlsOptions)},

	{"CELERY_DATABASE_URL", []string{"CELERY_RESULT_DBURI"}, to(func(s *root) *string { return &s.Database.URL }, text)},
	{"CELERY_DATABASE_ENGINE_OPTIONS", []string{"CELERY_RESULT_ENGINE_OPTIONS"}, to(func(s *root) *map[string]any { return &s.Database.EngineOptions }, options)},
	{"CELERY_DATABASE_SHORT_LIVED_SESSIONS", []string{"CELERY_RESULT_DB_SHORT_LIVED_SESSIONS"}, to(func(s *root) *bool { return &s.Database.ShortLivedSessions }, boolean)},
	{"CELERY_DATABASE_TABLE_NAMES", []string{"CELERY_RESULT_DB_TABLENAMES"}, to(func(s *root) *map[string]string { return &s.Database.TableNames }, tableNames)},
	{"CELERY_DATABASE_TABLE_SCHEMAS", []string{"DATABASE_TABLE_SCHEMAS"}, to(func(s *root) *map[string]string { return &s.Database.TableSchemas }, tableNames)},
	{"CELERY_DATABASE_CREATE_TABLES_AT_SETUP", []string{"DATABASE_CREATE_TABLES_AT_SETUP"}, to(func(s *root) **bool { return &s.Database.CreateTablesAtSetup }, pointer(boolean))},

	{"CELERY_RESULT_DATABASE", nil, to(func(s *root) *string { return &s.DjangoDB.Database }, word)},
	{"CELERY_RESULT_READ_DATABASE", nil, to(func(s *root) *string { return &s.DjangoDB.ReadDatabase }, word)},
	{"CELERY_RESULT_READ_YOUR_WRITES", nil, to(func(s *root) *time.Duration { return &s.DjangoDB.ReadYourWrites }, span)},
	{"CELERY_RESULT_EXPIRES_BY_STATE", nil, to(func(s *root) *map[celeryresults.State]time.Duration { return &s.DjangoDB.ExpiresByState }, expiryByState)},
	{"CELERY_RESULT_UNFINISHED_EXPIRES", nil, toNullable(func(s *root) *time.Duration { return &s.DjangoDB.UnfinishedExpires }, expiry)},
	{"CELERY_RESULT_NOTIFY", nil, to(func(s *root) **bool { return &s.DjangoDB.Notify }, pointer(boolean))},
	{"CELERY_RESULT_ARGS_LIMIT", nil, to(func(s *root) *int { return &s.DjangoDB.ArgsLimit }, argsLimit)},

	{"CELERY_RESULT_BACKENDS", nil, to(func(s *root) *map[string]celeryresults.BackendSettings { return &s.ResultBackends }, entries(namedBackend))},
	{"CELERY_TASK_BACKENDS", nil, to(func(s *root) *map[string]string { return &s.TaskBackends }, entries(word))},
	{"CACHES", nil, to(func(s *root) *map[string]cache.Settings { return &s.Caches }, entries(cacheEntry))},
	{"DATABASES", nil, to(func(s *root) *map[string]cache.Database { return &s.Databases }, databases)},
	{"DJANGO_CELERY_RESULTS_TASK_ID_MAX_LENGTH", nil, to(func(s *root) *int { return &s.TaskIDMaxLength }, positive)},
}

// unrelated are the settings of Celery 5.6 that do not concern results or are
// for stores that this library does not have, under all of their names, without
// the namespace.
const unrelated = `
AZUREBLOCKBLOB_BASE_PATH AZUREBLOCKBLOB_CONNECTION_TIMEOUT AZUREBLOCKBLOB_CONTAINER_NAME
AZUREBLOCKBLOB_READ_TIMEOUT AZUREBLOCKBLOB_RETRY_INCREMENT_BASE
AZUREBLOCKBLOB_RETRY_INITIAL_BACKOFF_SEC AZUREBLOCKBLOB_RETRY_MAX_ATTEMPTS
BEAT_CRON_STARTING_DEADLINE BEAT_MAX_LOOP_INTERVAL BEAT_SCHEDULE BEAT_SCHEDULER
BEAT_SCHEDULE_FILENAME BEAT_SYNC_EVERY
BROKER_CHANNEL_ERROR_RETRY BROKER_CONNECTION_MAX_RETRIES BROKER_CONNECTION_RETRY
BROKER_CONNECTION_RETRY_ON_STARTUP BROKER_CONNECTION_TIMEOUT BROKER_FAILOVER_STRATEGY
BROKER_HEARTBEAT BROKER_HEARTBEAT_CHECKRATE BROKER_HOST BROKER_LOGIN_METHOD
BROKER_NATIVE_DELAYED_DELIVERY_QUEUE_TYPE BROKER_PASSWORD BROKER_POOL_LIMIT BROKER_PORT
BROKER_READ_URL BROKER_TRANSPORT BROKER_TRANSPORT_OPTIONS BROKER_URL BROKER_USER BROKER_USE_SSL
BROKER_VHOST BROKER_WRITE_URL
CASSANDRA_AUTH_KWARGS CASSANDRA_AUTH_PROVIDER CASSANDRA_BUNDLE_PATH CASSANDRA_ENTRY_TTL
CASSANDRA_KEYSPACE CASSANDRA_OPTIONS CASSANDRA_PORT CASSANDRA_READ_CONSISTENCY CASSANDRA_SERVERS
CASSANDRA_TABLE CASSANDRA_WRITE_CONSISTENCY
CONTROL_EXCHANGE CONTROL_QUEUE_DURABLE CONTROL_QUEUE_EXCLUSIVE CONTROL_QUEUE_EXPIRES
CONTROL_QUEUE_TTL
COSMOSDBSQL_COLLECTION_NAME COSMOSDBSQL_CONSISTENCY_LEVEL COSMOSDBSQL_DATABASE_NAME
COSMOSDBSQL_MAX_RETRY_ATTEMPTS COSMOSDBSQL_MAX_RETRY_WAIT_TIME
CREATE_MISSING_QUEUES CREATE_MISSING_QUEUE_EXCHANGE_TYPE CREATE_MISSING_QUEUE_TYPE
DEFAULT_DELIVERY_MODE DEFAULT_EXCHANGE DEFAULT_EXCHANGE_TYPE DEFAULT_PRIORITY DEFAULT_QUEUE
DEFAULT_QUEUE_TYPE DEFAULT_RATE_LIMIT DEFAULT_ROUTING_KEY
ELASTICSEARCH_MAX_RETRIES ELASTICSEARCH_RETRY_ON_TIMEOUT ELASTICSEARCH_SAVE_META_AS_TEXT
ELASTICSEARCH_TIMEOUT
EVENT_EXCHANGE EVENT_QUEUE_DURABLE EVENT_QUEUE_EXCLUSIVE EVENT_QUEUE_EXPIRES EVENT_QUEUE_PREFIX
EVENT_QUEUE_TTL EVENT_SERIALIZER
GCS_BASE_PATH GCS_BUCKET GCS_PROJECT GCS_THREADPOOL_MAXSIZE GCS_TTL
REDIS_BACKEND_CREDENTIAL_PROVIDER REDIS_BACKEND_HEALTH_CHECK_INTERVAL REDIS_CLIENT_NAME
RESULT_BACKEND_THREAD_SAFE RESULT_EXCHANGE RESULT_EXCHANGE_TYPE
S3_ACCESS_KEY_ID S3_BASE_PATH S3_BUCKET S3_ENDPOINT_URL S3_REGION S3_SECRET_ACCESS_KEY
SECURITY_CERTIFICATE SECURITY_CERT_STORE SECURITY_DIGEST SECURITY_KEY SECURITY_KEY_PASSWORD
TASK_ACKS_LATE TASK_ACKS_ON_FAILURE_OR_TIMEOUT TASK_ALLOW_ERROR_CB_ON_CHORD_HEADER TASK_ALWAYS_EAGER
TASK_ANNOTATIONS TASK_COMPRESSION TASK_CREATE_MISSING_QUEUES TASK_CREATE_MISSING_QUEUE_EXCHANGE_TYPE
TASK_CREATE_MISSING_QUEUE_TYPE TASK_DEFAULT_DELIVERY_MODE TASK_DEFAULT_EXCHANGE
TASK_DEFAULT_EXCHANGE_TYPE TASK_DEFAULT_PRIORITY TASK_DEFAULT_QUEUE TASK_DEFAULT_QUEUE_TYPE
TASK_DEFAULT_RATE_LIMIT TASK_DEFAULT_ROUTING_KEY TASK_EAGER_PROPAGATES TASK_INHERIT_PARENT_PRIORITY
TASK_PROTOCOL TASK_PUBLISH_RETRY TASK_PUBLISH_RETRY_POLICY TASK_QUEUES TASK_QUEUE_MAX_PRIORITY
TASK_REJECT_ON_WORKER_LOST TASK_REMOTE_TRACEBACKS TASK_ROUTES TASK_SEND_SENT_EVENT TASK_SERIALIZER
TASK_SOFT_TIME_LIMIT TASK_TIME_LIMIT
WORKER_AGENT WORKER_AUTOSCALER WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS
WORKER_CONCURRENCY WORKER_CONSUMER WORKER_DEDUPLICATE_SUCCESSFUL_TASKS WORKER_DETECT_QUORUM_QUEUES
WORKER_DIRECT WORKER_DISABLE_PREFETCH WORKER_DISABLE_RATE_LIMITS
WORKER_ENABLE_PREFETCH_COUNT_REDUCTION WORKER_ENABLE_REMOTE_CONTROL
WORKER_ENABLE_SOFT_SHUTDOWN_ON_IDLE WORKER_ETA_TASK_LIMIT WORKER_HIJACK_ROOT_LOGGER WORKER_LOG_COLOR
WORKER_LOG_FORMAT WORKER_LOST_WAIT WORKER_MAX_MEMORY_PER_CHILD WORKER_MAX_TASKS_PER_CHILD
WORKER_POOL WORKER_POOL_PUTLOCKS WORKER_POOL_RESTARTS WORKER_PREFETCH_MULTIPLIER
WORKER_PROC_ALIVE_TIMEOUT WORKER_REDIRECT_STDOUTS WORKER_REDIRECT_STDOUTS_LEVEL
WORKER_SEND_TASK_EVENTS WORKER_SOFT_SHUTDOWN_TIMEOUT WORKER_STATE_DB WORKER_TASK_LOG_FORMAT
WORKER_TIMER WORKER_TIMER_PRECISION
ACKS_LATE ACKS_ON_FAILURE_OR_TIMEOUT ALLOW_ERROR_CB_ON_CHORD_HEADER ALWAYS_EAGER ANNOTATIONS
ARANGODB_BACKEND_SETTINGS COUCHBASE_BACKEND_SETTINGS DISABLE_RATE_LIMITS DYNAMODB_ENDPOINT_URL
EAGER_PROPAGATES_EXCEPTIONS ENABLE_REMOTE_CONTROL ENABLE_UTC IMPORTS INCLUDE INHERIT_PARENT_PRIORITY
MESSAGE_COMPRESSION MONGODB_BACKEND_SETTINGS OVERRIDE_BACKENDS QUEUES QUEUE_MAX_PRIORITY
REDIRECT_STDOUTS REDIRECT_STDOUTS_LEVEL REJECT_ON_WORKER_LOST REMOTE_TRACEBACKS ROUTES SEND_EVENTS
SEND_TASK_SENT_EVENT TIMEZONE
`
