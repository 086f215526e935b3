%solution%
module.exports = { %name% };
