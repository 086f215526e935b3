%solution%
export { %name% };
