export { type RedisClient, redisCoordinator, type RedisCoordinatorOptions } from './fleet/redis-fleet.js';
