export { type Fleet } from './fleet/fleet.js';
export { type RedisClient } from './fleet/redis-client.js';
export { redisFleet, type RedisFleetOptions } from './fleet/redis-fleet.js';
