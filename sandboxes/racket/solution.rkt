%solution%

(provide %name%)
